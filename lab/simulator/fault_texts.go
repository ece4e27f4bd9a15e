package main

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/vmware/govmomi/vim25/types"
)

// faultTexts are what people read about faults, by class name and language. The wording is the lab's own.
var faultTexts = map[string]map[string]string{
	"en": {
		"FeatureRequirementsNotMet":          "The target host does not support the virtual machine's current hardware requirements.",
		"InsufficientFailoverResourcesFault": "Insufficient resources to satisfy the configured failover level for vSphere HA.",
		"InsufficientMemoryResourcesFault":   "The available memory resources are insufficient for the operation.",
		"InvalidState":                       "The operation is not allowed in the current state.",
		"InvalidHostState":                   "The operation is not allowed in the current state of the host.",
		"InvalidLogin":                       "Cannot log in: the user name or the password is wrong.",
		"NoPermission":                       "Permission to perform this operation was denied.",
		"RequestCanceled":                    "The task was canceled by a user.",
		"SSLVerifyFault":                     "The certificate of the remote server could not be verified.",
		"TaskInProgress":                     "Another task is already in progress.",
		"Timedout":                           "Operation timed out.",
	},
	"de": {
		"FeatureRequirementsNotMet":          "Der Zielhost unterstützt die aktuellen Hardwareanforderungen der virtuellen Maschine nicht.",
		"InsufficientFailoverResourcesFault": "Die Ressourcen reichen für die konfigurierte Failover-Ebene von vSphere HA nicht aus.",
		"InsufficientMemoryResourcesFault":   "Die verfügbaren Arbeitsspeicherressourcen reichen für den Vorgang nicht aus.",
		"InvalidState":                       "Der Vorgang ist im aktuellen Zustand nicht zulässig.",
		"InvalidHostState":                   "Der Vorgang ist im aktuellen Zustand des Hosts nicht zulässig.",
		"InvalidLogin":                       "Die Anmeldung ist nicht möglich: Benutzername oder Kennwort ist falsch.",
		"NoPermission":                       "Die Berechtigung zum Ausführen dieses Vorgangs wurde verweigert.",
		"RequestCanceled":                    "Die Aufgabe wurde von einem Benutzer abgebrochen.",
		"SSLVerifyFault":                     "Das Zertifikat des Gegenservers konnte nicht überprüft werden.",
		"TaskInProgress":                     "Eine andere Aufgabe wird bereits ausgeführt.",
		"Timedout":                           "Zeitüberschreitung beim Vorgang.",
	},
}

// otherFaults are the texts of all other faults, with the words of the class name.
var otherFaults = map[string]string{"en": "The operation failed: %s.", "de": "Der Vorgang ist fehlgeschlagen: %s."}

var deviceTexts = map[string]string{
	"en": "%s uses %s, which the target host cannot access.",
	"de": "%s verwendet %s. Der Zielhost hat darauf keinen Zugriff.",
}

// localized is a fault as a task or a check reports it, with a text for people in the language of the vCenter. No program may
// depend on the text.
func (c *Config) localized(fault types.BaseMethodFault) types.LocalizedMethodFault {
	return types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultText(fault, c.Language)}
}

func faultText(fault types.BaseMethodFault, language string) string {
	name := reflect.TypeOf(fault).Elem().Name()
	if text, ok := faultTexts[language][name]; ok {
		return text
	}
	if device, ok := fault.(*types.CannotAccessVmDevice); ok {
		return fmt.Sprintf(deviceTexts[language], device.Device, device.Backing)
	}
	what := strings.TrimSpace(inWords(name))
	if generic, ok := fault.(*types.GenericVmConfigFault); ok && generic.Reason != "" {
		what = generic.Reason
	}
	return fmt.Sprintf(otherFaults[language], what)
}

// inWords splits a class name: "HostNotConnected" is "host not connected".
func inWords(name string) string {
	var words strings.Builder
	for _, letter := range name {
		if unicode.IsUpper(letter) {
			words.WriteRune(' ')
		}
		words.WriteRune(unicode.ToLower(letter))
	}
	return words.String()
}
