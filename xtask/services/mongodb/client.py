"""Asks a MongoDB server for its version, or makes the users of the tests.

usage: client.py version|users, with one JSON object on the standard input:
`url` to connect with; for `users` also `users`: what `createUser` takes.
"""

import json
import sys

from pymongo import MongoClient


def main() -> None:
    given = json.load(sys.stdin)
    client: MongoClient = MongoClient(given["url"], serverSelectionTimeoutMS=5000)
    if sys.argv[1] == "users":
        for user in given["users"]:
            name = user.pop("user")
            client["admin"].command("createUser", name, **user)
    else:
        print(client["admin"].command("buildInfo")["version"])


main()
