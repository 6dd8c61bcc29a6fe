package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs are what tests may need, with a place to look that may not be in PATH.
var programs = map[string]string{
	"dovecot":    "/usr/sbin/dovecot",
	"postfix":    "/usr/lib/postfix/sbin/master",
	"radicale":   "/usr/bin/radicale",
	"curl":       "curl",
	"mbsync":     "mbsync",
	"msmtp":      "msmtp",
	"mpop":       "mpop",
	"swaks":      "swaks",
	"vdirsyncer": "vdirsyncer",
	"python3":    "python3",
	"node":       "node",
	"chromium":   "/usr/bin/chromium", // Debian's: others name it differently
}

// Need skips the test when one of the named programs is missing, and says which; with CI=true it fails instead.
// "root" is needed by what only root can start.
func Need(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if !have(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	lack(t, "needs "+strings.Join(missing, ", ")+" (make deps, as root, installs what is missing)")
}

func have(name string) bool {
	if name == "root" {
		return os.Geteuid() == 0
	}
	if name == "axe-core" {
		return fileExists(axeFile())
	}
	if name == "oidc-provider" {
		return have("node") && fileExists(filepath.Join(openIDFolder(), "package-lock.json"))
	}
	path, known := programs[name]
	if !known {
		return false
	}
	_, err := exec.LookPath(path)
	return err == nil
}

func lack(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
