package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
)

//go:embed assets
var assetFiles embed.FS

// assets are files that a browser keeps for good: their paths change with their bytes.
type assets struct {
	paths map[string]string // by name
	files map[string][]byte // by path
}

func newAssets() *assets {
	a := &assets{paths: map[string]string{}, files: map[string][]byte{}}
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		b, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(b)
		at := "/assets/" + hex.EncodeToString(sum[:8]) + "/" + e.Name()
		a.paths[e.Name()], a.files[at] = at, b
	}
	return a
}

// path is where a file lies.
func (a *assets) path(name string) (string, error) {
	at, ok := a.paths[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return at, nil
}

func (s *server) assetRoutes() {
	for at, b := range s.assets.files {
		s.kit.Handle("GET "+at, false, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(at)))
			s.site().secure(w.Header())
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			_, _ = w.Write(b)
		}))
	}
}
