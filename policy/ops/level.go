package ops

import (
	"encoding/json"
	"log/slog"
	"net/http"
)

// level shows and sets how much is logged, until the next start.
type level struct {
	of  *slog.LevelVar
	log *slog.Logger
}

type levelBody struct {
	Level slog.Level `json:"level"` // DEBUG, INFO, WARN, ERROR
}

func (l level) get(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, levelBody{l.of.Level()})
}

func (l level) put(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Level *slog.Level `json:"level"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil || b.Level == nil {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"error": `send {"level":"debug"}, or info, warn, error`})
		return
	}
	l.log.Warn("log level", "was", l.of.Level(), "is", *b.Level)
	l.of.Set(*b.Level)
	l.get(w, r)
}
