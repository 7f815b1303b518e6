"""What checkov found, and whether each exception in the templates is one that it would otherwise find.

    reviewed.py RESULTS TEMPLATE...
"""

import json
import sys

results_path, *template_paths = sys.argv[1:]
with open(results_path) as file:
    results = json.load(file)
results = results if isinstance(results, list) else [results]

problems = []
passed = 0
skipped = set()
# It leaves out what is not made by default, where it understands the condition.
seen = set()
for result in results:
    found = result["results"]
    passed += len(found["passed_checks"])
    for check in found["failed_checks"]:
        problems.append(f"{check['check_id']} {check['check_name']}: {check['resource']}")
    for check in found["skipped_checks"]:
        skipped.add((check["resource"].split(".")[-1], check["check_id"]))
    checks = found["passed_checks"] + found["failed_checks"] + found["skipped_checks"]
    seen |= {check["resource"].split(".")[-1] for check in checks}
    problems += [f"{path} cannot be read" for path in found["parsing_errors"]]

declared = set()
for path in template_paths:
    with open(path) as file:
        resources = json.load(file)["Resources"]
    for name, resource in resources.items():
        # SAM copies those of the function to what it makes beside it.
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            continue
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            if len(skip["comment"]) < 20:
                problems.append(f"{name}: {skip['id']} is skipped without a reason")
            if name in seen:
                declared.add((name, skip["id"]))
problems += [f"{name}: {check} is skipped for nothing" for name, check in sorted(declared - skipped)]

for problem in problems:
    print(f"checkov: {problem}", file=sys.stderr)
print(f"checkov: {passed} rules kept, {len(skipped)} exceptions, each with its reason")
sys.exit(1 if problems or not passed else 0)
