package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxBodyBytes = 1 << 16

// problem is a request that the control API cannot carry out, with the HTTP status and the remedy.
type problem struct {
	status int
	text   string
}

// Error makes it an error.
func (p *problem) Error() string { return p.text }

func badRequest(format string, values ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, values...)}
}

func conflict(format string, values ...any) error {
	return &problem{http.StatusConflict, fmt.Sprintf(format, values...)}
}

// request is the body of a call, a JSON object. Its methods read one field each and remember the first problem; check
// reports the problem, or a field that nobody read.
type request struct {
	name    string // of the VM or host in the path
	vcenter string // of which vCenter: from the query, or a field of the body; "" for the first
	example string
	fields  map[string]json.RawMessage
	read    []string
	problem error
}

// parse reads the body; none is an empty object.
func parse(route route, w http.ResponseWriter, r *http.Request) (*request, error) {
	parsed := &request{name: r.PathValue("name"), vcenter: r.URL.Query().Get("vcenter"), example: route.example}
	if route.method == http.MethodGet {
		return parsed, nil
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf(
			"the body has more than %d bytes; send a JSON object such as %s", maxBodyBytes, route.example)}
	}
	if err != nil {
		return nil, badRequest("the body cannot be read: %v; send a JSON object such as %s", err, route.example)
	}
	if len(data) == 0 {
		return parsed, nil
	}
	if err := json.Unmarshal(data, &parsed.fields); err != nil || parsed.fields == nil {
		return nil, badRequest("the body is not a JSON object; send one such as %s", route.example)
	}
	if _, given := parsed.fields["vcenter"]; given {
		parsed.vcenter = parsed.text("vcenter")
	}
	return parsed, parsed.problem
}

// check reports the first problem; a field that was not read is one too, because it may be misspelt.
func (r *request) check() error {
	if r.problem != nil {
		return r.problem
	}
	for _, field := range slices.Sorted(maps.Keys(r.fields)) {
		if !slices.Contains(r.read, field) {
			known := "it takes no field"
			if len(r.read) > 0 {
				known = "it takes " + strings.Join(r.read, ", ")
			}
			return badRequest("unknown field %.100q in this request; %s, for example %s", field, known, r.example)
		}
	}
	return nil
}

func (r *request) reject(field, words string) {
	if r.problem != nil {
		return
	}
	given, ok := r.fields[field]
	if !ok {
		r.problem = badRequest("%s is missing; it must be %s, for example %s", field, words, r.example)
		return
	}
	r.problem = badRequest("%s must be %s, not %.100s", field, words, given)
}

// value decodes a field; false when it is missing or of another type.
func value[T any](r *request, field string) (T, bool) {
	var decoded *T
	r.read = append(r.read, field)
	if raw, ok := r.fields[field]; !ok || json.Unmarshal(raw, &decoded) != nil || decoded == nil {
		var zero T
		return zero, false
	}
	return *decoded, true
}

// text is a name.
func (r *request) text(field string) string {
	text, ok := value[string](r, field)
	if !ok || text == "" || utf8.RuneCountInString(text) > maxNameCharacters || strings.ContainsFunc(text, unprintable) {
		r.reject(field, fmt.Sprintf("a text of 1 to %d printable characters", maxNameCharacters))
	}
	return text
}

// texts is a list of names, with at least one.
func (r *request) texts(field string) []string {
	texts, ok := value[[]string](r, field)
	if !ok || len(texts) == 0 || slices.Contains(texts, "") {
		r.reject(field, "a list of texts")
	}
	return texts
}

func unprintable(character rune) bool { return !unicode.IsPrint(character) }

func (r *request) choice(field string, choices ...string) string {
	text, ok := value[string](r, field)
	if !ok || !slices.Contains(choices, text) {
		r.reject(field, "one of "+strings.Join(choices, ", "))
	}
	return text
}

// number is above 0.
func (r *request) number(field string, highest float64) float64 {
	number, ok := value[float64](r, field)
	if !ok || number <= 0 || number > highest {
		r.reject(field, fmt.Sprintf("a number above 0 and up to %.0f", highest))
	}
	return number
}

// count is a whole number from 1; preset is its value when the field is missing, 0 when the field is required.
func (r *request) count(field string, highest, preset int) int {
	number, ok := value[float64](r, field)
	if _, given := r.fields[field]; !given && preset > 0 {
		return preset
	}
	if !ok || number != math.Trunc(number) || number < 1 || number > float64(highest) {
		r.reject(field, fmt.Sprintf("a whole number from 1 to %d", highest))
		return 0
	}
	return int(number)
}

// has reports whether the request gives a field; one that may be missing is read only then.
func (r *request) has(field string) bool {
	_, given := r.fields[field]
	if !given {
		r.read = append(r.read, field)
	}
	return given
}

// flag is false when the field is missing.
func (r *request) flag(field string) bool {
	flag, ok := value[bool](r, field)
	if _, given := r.fields[field]; given && !ok {
		r.reject(field, "true or false")
	}
	return flag
}
