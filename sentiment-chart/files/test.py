"""`helm test`: a sentence is classified through the Service, and its row is in the log."""

import json
import os
import sys
import urllib.parse
import urllib.request

SENTENCE = "I love AI!"


def get(path: str) -> dict[str, object]:
    request = urllib.request.Request(os.environ["URL"] + path)  # noqa: S310  # our own Service
    request.add_header("Authorization", "Bearer " + os.environ["TOKEN"])
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


answer = get("/predict?" + urllib.parse.urlencode({"text": SENTENCE}))
sys.stdout.write(f"answer: {answer}\n")
row = get(f"/predictions/{answer['id']}")
sys.stdout.write(f"row:    {row}\n")
# Not by its text, of which the log may keep less (`recordText`).
if any(answer[name] != row[name] for name in ("id", "prediction", "score")):
    sys.exit("The row is not what was answered.")
