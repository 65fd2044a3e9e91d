#!/usr/bin/env python3
"""Adds up what test.sh's suites left in a folder; the last line is "N passed, N failed".

For each suite NAME there are NAME.exit (its exit code) and either NAME.xml (JUnit, from ctest) or
NAME.log, whose last line of the form "…: N passed, N failed" counts. A suite that ends with an
error but names no failed test has one failure; so has one without any test, and a step that did not
finish.
"""
import os
import re
import sys
import xml.etree.ElementTree as ElementTree


def fromJunit(path):
    passed, failed, skipped = 0, [], []
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name")
        skip = case.find("skipped")
        if case.get("status") == "run" and case.find("failure") is None:
            passed += 1
        elif skip is not None and (skip.get("message") or "").startswith("SKIP_"):
            skipped.append(name)
        else:
            failed.append(name)
    return passed, failed, skipped


def fromLog(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        found = re.findall(r"(\d+) passed, (\d+) failed", f.read())
    passed, failed = map(int, found[-1]) if found else (0, 0)
    return passed, ["(see above)"] * failed, []


def suiteTotals(folder, name):
    with open(os.path.join(folder, name + ".exit"), encoding="utf-8") as f:
        code = int(f.read())
    xml, log = (os.path.join(folder, name + end) for end in (".xml", ".log"))
    try:
        passed, failed, skipped = fromJunit(xml) if os.path.exists(xml) else fromLog(log)
    except ElementTree.ParseError as e:
        passed, failed, skipped = 0, [f"(no readable result: {e})"], []
    if not failed and (code != 0 or passed == 0):
        failed = [f"(the suite ended with exit code {code} after {passed} passed tests)"]
    return passed, failed, skipped


def main():
    folder = sys.argv[1]
    names = [n[:-len(".exit")] for n in os.listdir(folder) if n.endswith(".exit")]
    names.sort(key=lambda n: os.path.getmtime(os.path.join(folder, n + ".exit")))
    all_passed = all_failed = 0
    for name in names:
        passed, failed, skipped = suiteTotals(folder, name)
        all_passed += passed
        all_failed += len(failed)
        more = f", {len(skipped)} skipped" if skipped else ""
        print(f"{name}: {passed} passed, {len(failed)} failed{more}")
        for test in failed:
            print(f"  failed: {test}")
        for test in skipped:
            print(f"  skipped: {test}")
    unfinished = os.path.join(folder, "unfinished")
    if os.path.exists(unfinished):
        with open(unfinished, encoding="utf-8") as f:
            print(f"  failed: the step \"{f.read().strip()}\"")
        all_failed += 1
    elif not names:
        all_failed += 1
    print(f"{all_passed} passed, {all_failed} failed")
    return 1 if all_failed else 0


if __name__ == "__main__":
    sys.exit(main())
