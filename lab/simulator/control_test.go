package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPanicIsAnsweredWithAnError(t *testing.T) {
	answer := httptest.NewRecorder()
	broken := recovering(func(http.ResponseWriter, *http.Request) { panic("broken") })
	broken.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v1/state", nil))
	if answer.Code != http.StatusInternalServerError || !strings.Contains(answer.Body.String(), "see vcenter.log") {
		t.Errorf("the answer is %d %s", answer.Code, answer.Body)
	}
}
