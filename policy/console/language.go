package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"sync"
	"time"

	xlanguage "golang.org/x/text/language"

	"latchkey/authcore/notify"
)

//go:embed templates lang
var files embed.FS

// language is what one language says: its sentences, by the English ones, and the pages in it.
type language struct {
	Code      string
	sentences map[string]string                    // none for English
	patterns  []pattern                            // those of them that have values
	pages     map[string]func() *template.Template // each is parsed when it is first shown
}

// newLanguages reads every language. What cannot be read is a bug: every start and every test ends here. Pages are parsed one
// by one, as they are asked for: all of them in every language are 22 MB, which a server at whose doors members sign in would
// have the collector walk over and over. TestEveryPage asks for each.
func newLanguages(a *assets) map[string]*language {
	all := map[string]*language{}
	for _, code := range notify.Languages() {
		l := &language{Code: code, sentences: map[string]string{}, pages: map[string]func() *template.Template{}}
		if code != "en" {
			l.read()
			l.patterns = patternsOf(l.sentences)
		}
		l.find(a)
		all[code] = l
	}
	return all
}

// read takes in the sentences of every file of the language.
func (l *language) read() {
	names, err := fs.Glob(files, "lang/"+l.Code+"/*.json")
	if err != nil || len(names) == 0 {
		panic(fmt.Errorf("read language %s: %d files, %w", l.Code, len(names), err))
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &l.sentences)
		}
		if err != nil {
			panic(fmt.Errorf("read %s: %w", name, err))
		}
	}
}

// find learns which pages there are.
func (l *language) find(a *assets) {
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		l.pages[path.Base(name)] = sync.OnceValue(func() *template.Template { return l.parse(a, name) })
	}
}

// parse puts a page into the layout, with the parts that pages share.
func (l *language) parse(a *assets, name string) *template.Template {
	t := template.New("").Funcs(l.functions(a))
	return template.Must(t.ParseFS(files, "templates/layout.html", "templates/parts.html", name))
}

// functions are those of the templates.
func (l *language) functions(a *assets) template.FuncMap {
	return template.FuncMap{
		"t":     l.t,
		"asset": a.path,
		"time":  func(at time.Time) template.HTML { return marked(at, l.time(at)) },
		"date":  func(at time.Time) template.HTML { return marked(at, l.date(at)) },

		"field": fieldOf, "wrong": wrong, "choice": choice, "choices": choices, "icon": icon, "contactRows": contactRows,
		"waysOf": waysOf,
	}
}

// t says an English sentence in this language. One that is not translated is said in English.
func (l *language) t(sentence string, args ...any) string {
	if s, ok := l.sentences[sentence]; ok {
		sentence = s
	}
	if len(args) == 0 {
		return sentence
	}
	return fmt.Sprintf(sentence, args...)
}

// time shows an instant, in UTC: the server does not know where its reader is.
func (l *language) time(at time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return at.UTC().Format("2006-01-02 15:04") + " UTC"
}

func (l *language) date(at time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return at.UTC().Format("2006-01-02")
}

// marked says by a <time> which instant is meant, so that the script can show it where its reader is.
func marked(at time.Time, text string) template.HTML {
	if at.IsZero() {
		return template.HTML(template.HTMLEscapeString(text))
	}
	return template.HTML(`<time datetime="` + at.UTC().Format(time.RFC3339) + `">` + template.HTMLEscapeString(text) + `</time>`)
}

// languageOf chooses: the member's own, the browser's cookie, what the browser asks for, English.
func (s *server) languageOf(p *page) *language {
	if p.me != nil && s.languages[p.me.Member.Language] != nil {
		return s.languages[p.me.Member.Language]
	}
	if c, err := p.r.Cookie(langCookie); err == nil && s.languages[c.Value] != nil {
		return s.languages[c.Value]
	}
	return s.languages[asked(p.r.Header.Get("Accept-Language"))]
}

// maxAsked is more than people ask for by Accept-Language.
const maxAsked = 500

// asked matches an Accept-Language header (RFC 9110 section 12.5.4).
func asked(header string) string {
	l := notify.Languages()
	if len(header) > maxAsked {
		return l[0]
	}
	known := make([]xlanguage.Tag, len(l))
	for i, code := range l {
		known[i] = xlanguage.Make(code)
	}
	wanted, _, err := xlanguage.ParseAcceptLanguage(header)
	if err != nil {
		return l[0]
	}
	_, i, _ := xlanguage.NewMatcher(known).Match(wanted...)
	return l[i]
}

// en marks an English sentence that t says later, for the test that looks for its translations.
func en(sentence string) string { return sentence }
