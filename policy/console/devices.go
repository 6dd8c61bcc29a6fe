package console

import (
	"latchkey/authcore/quick"
	"latchkey/policy"
)

// devicesPage lists the devices of Quick login. They are registered in the mobile app alone: the key never leaves it.
type devicesPage struct {
	Approved bool
	Devices  []quick.Device
}

func (p *page) devices() error { return p.devicesAfter(nil) }

func (p *page) devicesAfter(err error) error {
	l, failed := p.core.QuickDevices(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	approved, failed := p.approved(policy.WayQuick)
	if failed != nil {
		return failed
	}
	return p.after(err, "quick.html", devicesPage{Approved: approved, Devices: l})
}

func (p *page) deviceDelete() error {
	if err := p.core.DeleteQuickDevice(p.ctx, p.actor, p.form("id")); err != nil {
		return p.devicesAfter(err)
	}
	return p.redirect("/security/quick", "device_deleted")
}
