"""Validates events, one JSON object to a line on stdin, against the published schema of the version and profiles that each names. Prints
what is wrong, a line each, and then how many events of which class were right."""

import collections
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas, validators, right = {}, {}, collections.Counter()
wrong = False
for number, line in enumerate(sys.stdin, 1):
    event = json.loads(line)
    version, profiles = event["metadata"]["version"], tuple(event["metadata"].get("profiles", []))
    if version not in schemas:
        schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
    name = schemas[version].lookup_class_name_from_uid(event["class_uid"])
    if (version, name, profiles) not in validators:
        schema = schemas[version].get_class_schema(class_name=name, profiles=list(profiles))
        # What the class does not know is a mistake, not an addition.
        schema["additionalProperties"] = False
        validators[version, name, profiles] = Draft202012Validator(schema)
    for error in validators[version, name, profiles].iter_errors(event):
        wrong = True
        print(f"{number}: {event['message']}: {'.'.join(str(part) for part in error.absolute_path)}: {error.message[:300]}")
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        wrong = True
        print(f"{number}: type_uid is not class and activity")
    right[event["class_name"]] += 1
print(json.dumps(right, sort_keys=True))
sys.exit(1 if wrong else 0)
