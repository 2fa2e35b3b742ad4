# Policies over a saved plan of kvmdecl, for conftest: conftest test --parser json --policy docs/policies plan.json
package main

import rego.v1

disruptive := {"restart", "migrate", "downtime", "data-loss"}

labels[host.name] := host.labels if {
	some host in input.hosts
}

deny contains msg if {
	some step in input.steps
	step.action in {"delete", "move"}
	step.address.kind == "domain"
	startswith(step.address.name, "db-")
	msg := sprintf("%s/%s: databases are deleted by their own team", [step.address.host, step.address.name])
}

deny contains msg if {
	some step in input.steps
	step.impact in disruptive
	labels[step.address.host].tier == "prod"
	msg := sprintf("%s/%s: no guest of production is interrupted", [step.address.host, step.address.name])
}

warn contains msg if {
	changed := {step.address.name |
		some step in input.steps
		some change in step.changes
		startswith(change.key, "cpus.")
	}
	count(changed) > 2
	msg := sprintf("%d guests get other CPUs: ask for the budget", [count(changed)])
}
