package admin

import (
	"context"
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// quick has what an administrator may do to a member's devices of quick login and passkeys: see and delete them.
func (s service) quick(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-quick-devices", Method: http.MethodGet, Path: "/members/{address}/quick-devices", Tag: memberTag,
		Summary: "A member's devices of quick login"}, s.quickDevices)
	api.SignedIn(k, api.Operation{ID: "delete-quick-device", Method: http.MethodDelete, Path: "/members/{address}/quick-devices/{id}", Tag: memberTag,
		Summary: "Delete one; it cannot sign in any more"}, s.deleteQuickDevice)
	api.SignedIn(k, api.Operation{ID: "list-passkeys", Method: http.MethodGet, Path: "/members/{address}/passkeys", Tag: memberTag,
		Summary: "A member's passkeys"}, s.passkeys)
	api.SignedIn(k, api.Operation{ID: "delete-passkey", Method: http.MethodDelete, Path: "/members/{address}/passkeys/{id}", Tag: memberTag,
		Summary: "Delete one, even the last method of 2-step verification"}, s.deletePasskey)
}

func (s service) quickDevices(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.List[api.QuickDevice]], error) {
	l, err := s.core.QuickDevicesOf(ctx, a, in.Address)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.QuickDeviceOf), nil
}

type oneDevice struct {
	OnMember
	ID string `path:"id" maxLength:"100"`
}

func (s service) deleteQuickDevice(ctx context.Context, a authcore.Actor, in *oneDevice) (*api.None, error) {
	return nil, s.core.DeleteQuickDeviceOf(ctx, a, in.Address, in.ID)
}

func (s service) passkeys(ctx context.Context, a authcore.Actor, in *OnMember) (*api.Reply[api.List[api.Passkey]], error) {
	l, err := s.core.PasskeysOf(ctx, a, in.Address)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.PasskeyOf), nil
}

func (s service) deletePasskey(ctx context.Context, a authcore.Actor, in *one) (*api.None, error) {
	return nil, s.core.DeletePasskeyOf(ctx, a, in.Address, in.ID)
}
