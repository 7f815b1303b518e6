"""Packs the release build as `cargo lambda build --release` does, and holds what cargo-lambda makes of Cargo.toml to what is meant.

    package.py CARGO_LAMBDA PROGRAM FOLDER

FOLDER gets the package, target/lambda/outrigger-lambda/bootstrap.zip. Nothing is compiled: in place of cargo stands a program
that writes down what it is asked to build, and PROGRAM lies where the result would. So a build for arm64 is tried as well,
without its toolchain. What PROGRAM is for, x86-64 or arm64, is what the function is deployed for.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# By the field e_machine of its header, as cargo-lambda tells.
ARCHITECTURES = {62: "x86_64", 183: "arm64"}
TARGETS = {"--arm64": "aarch64-unknown-linux-gnu", "--x86-64": "x86_64-unknown-linux-gnu"}

# What `cargo lambda deploy` is to do with no more than Cargo.toml.
DEPLOYED = {"memory": 128, "timeout": 75, "runtime": "provided.al2023"}
ROLE = "arn:aws:iam::123456789012:role/outrigger"
HOW = ["--dry", "--iam-role", ROLE, "--env-var", "OUTRIGGER_CLUSTERS=prod"]
FILES = {"bootstrap", "outrigger.yaml"}

# Writes down what is to be built, and answers everything else.
RECORDER = """#!/bin/sh
case "$1" in
build) printf '%s\\n' "$@" >"$RECORD" ;;
*) exec cargo "$@" ;;
esac
"""


def main():
    cargo_lambda, program, folder = map(pathlib.Path, sys.argv[1:])
    cargo_lambda, program, folder = cargo_lambda.resolve(), program.resolve(), folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # A clone in which somebody has written an outrigger.yaml.
    for entry in ROOT.iterdir():
        if entry.name not in {"target", ".git", "outrigger.yaml"}:
            (folder / entry.name).symlink_to(entry)
    (folder / "outrigger.yaml").write_text("# Nothing is scaled here.\n")
    recorder = folder / "recorder"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    environment = {
        **{name: os.environ[name] for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] if name in os.environ},
        "CARGO": str(recorder),
        "RECORD": str(folder / "record"),
        "CARGO_TARGET_DIR": str(folder / "target"),
        "CARGO_NET_OFFLINE": "true",
        # A token that is none: nothing is asked of AWS.
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "eu-west-1",
        "RUSTUP_DIST_SERVER": "http://127.0.0.1:9",
    }

    def run(*arguments):
        command = [cargo_lambda, "lambda", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        # Its progress comes before the JSON.
        return done.stdout[done.stdout.find("{") :] if "json" in arguments else done.stdout

    understood(run("system", "--output-format", "json"))
    for flag, target in TARGETS.items():
        place = folder / "target" / target / "release"
        place.mkdir(parents=True)
        # Both as `cargo lambda deploy` and as `sam deploy` want it. It is moved away each time.
        for output in ["zip", "binary"]:
            shutil.copy(program, place / "outrigger-lambda")
            run("build", "--release", flag, "--compiler", "cargo", "--skip-target-check", "--output-format", output)
            asked((folder / "record").read_text().splitlines(), target)
    package = folder / "target/lambda/outrigger-lambda/bootstrap.zip"
    packed(package)
    planned(json.loads(run("deploy", *HOW, "--output-format", "json")))
    architecture = ARCHITECTURES[int.from_bytes(program.read_bytes()[18:20], "little")]
    documented(run("deploy", *HOW).replace(f"{folder}/", ""), architecture)
    print(package)


def understood(system):
    """It ignores keys that it does not know, and prints those that it does."""
    effective = json.loads(system)["config"]["package"]
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    [package] = json.loads(metadata.stdout)["packages"]
    for table, wanted in package["metadata"]["lambda"].items():
        for key, value in wanted.items():
            found = effective[table].get(key)
            assert found == value, f"Cargo.toml has {table}.{key} = {value!r}, cargo-lambda understands {found!r}"


def asked(arguments, target):
    """The small binary: no command line tool, no sandbox, and the release profile as it stands in Cargo.toml."""
    pairs = set(zip(arguments, arguments[1:]))
    for wanted in [("--bin", "outrigger-lambda"), ("--features", "lambda"), ("--target", target)]:
        assert wanted in pairs, f"no {wanted} in {arguments}"
    assert {"--release", "--no-default-features"} <= set(arguments), arguments
    others = [argument for argument in arguments if argument.startswith("profile.")]
    assert not others, f"cargo-lambda overrides {others}"


def packed(package):
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) == FILES, archive.namelist()
        mode = archive.getinfo("bootstrap").external_attr >> 16
        assert mode & 0o555 == 0o555, f"bootstrap may be run by nobody: {mode:o}"


def planned(deployment):
    config = deployment["config"]
    for key, value in DEPLOYED.items():
        assert config[key] == value, f"deploys {key} {config[key]!r}, not {value!r}"
    assert config["role"] == ROLE, config
    assert not config["enable_function_url"] and not config["layer"], config
    assert config["env_var"] == ["OUTRIGGER_CLUSTERS=prod"], config
    assert {file.split("/")[-1] for file in deployment["files"]} == FILES, deployment["files"]


def documented(output, architecture):
    """The README shows these lines for x86-64, but for how old the binary is and where AWS is."""
    deployed = f"architecture {architecture}\n"
    assert deployed in output, f"not deployed for {architecture}: {output}"
    output = output.replace(deployed, "architecture x86_64\n")
    readme = (ROOT / "README.md").read_text()
    shown = readme.split("$ cargo lambda deploy --dry")[1].split("```")[0]
    shown = [line.strip() for line in shown.splitlines()[1:] if line.strip()]
    found = [line.strip() for line in output.splitlines() if line.strip()]
    volatile = ("▹", "🛠️", "🛫", "- region")
    found = [line for line in found if not line.startswith(volatile)]
    assert shown == found, f"the README shows {shown}, cargo-lambda prints {found}"


if __name__ == "__main__":
    main()
