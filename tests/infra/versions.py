"""The version that SAM publishes of the function of each template, by the logical id that CloudFormation gives it.

    versions.py TEMPLATE...

Where two templates have one id, CloudFormation publishes nothing when the second takes the place of the first.
"""

import pathlib
import sys

from check import expand


def main():
    for path in map(pathlib.Path, sys.argv[1:]):
        resources = expand(path.read_text())["Resources"].items()
        print(*(name for name, resource in resources if resource["Type"] == "AWS::Lambda::Version"))


if __name__ == "__main__":
    main()
