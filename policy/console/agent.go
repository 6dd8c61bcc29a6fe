package console

import "strings"

// maxAgent bounds what is shown of a program's own words.
const maxAgent = 60

// program is what people call the program behind a User-Agent or an IMAP ID: a browser with its system, else what it says of
// itself. It is what the program claims, and is shown for that.
func program(agent string) string {
	if !strings.HasPrefix(agent, "Mozilla/5.0 ") || strings.Contains(agent, "Thunderbird/") {
		return cut(agent, maxAgent)
	}
	// The order decides: Edge and Opera call themselves Chrome too, and all of them Safari.
	browser := nameOf(agent, "Edg", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "FxiOS/", "Firefox", "Chrome/", "Chrome", "CriOS/", "Chrome", "Safari/", "Safari")
	system := nameOf(agent, "Windows", "Windows", "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Mac OS X", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	if browser == "" {
		return cut(agent, maxAgent)
	}
	return strings.TrimSuffix(browser+", "+system, ", ")
}

// nameOf answers the name after the first mark that the agent has.
func nameOf(agent string, marksAndNames ...string) string {
	for i := 0; i+1 < len(marksAndNames); i += 2 {
		if strings.Contains(agent, marksAndNames[i]) {
			return marksAndNames[i+1]
		}
	}
	return ""
}
