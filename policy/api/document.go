package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// tokenScheme names the one way to be somebody.
const tokenScheme = "token"

// newHuma makes the API without huma's pages and without links to schemas: they would load scripts from elsewhere, and
// put a field into every answer.
func newHuma(mux *http.ServeMux) huma.API {
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: json.Unmarshal}
	return humago.NewWithPrefix(mux, Prefix, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Latchkey", Version: "1", Description: "Members manage how they sign in, administrators their domains. " +
				"Every refusal is an application/problem+json with a `reason` out of a closed set that only grows."},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{tokenScheme: {Type: "http", Scheme: "bearer", Description: "The token of POST /sign-in. Cookies are ignored."}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format}, // json: what ends in +json
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{asProblem},
	})
}

func (k *Kit) document() ([]byte, error) {
	o := k.huma.OpenAPI()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own errors, which asProblem replaces
		delete(o.Components.Schemas.Map(), unused)
	}
	p, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, p, "", "  "); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Schema answers where in the document a type is described, for answers that huma cannot see.
func Schema[T any](k *Kit) *huma.Schema {
	return k.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}
