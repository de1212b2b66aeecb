"""Prints the stages of a Dockerfile as arrays of the shell: `build` and `final`, by the name of the instruction."""

import json
import shlex
import sys
from io import BytesIO

from dockerfile_parse import DockerfileParser


def value(instruction, text):
    """What an instruction says, as words of a shell where it is a command."""
    if instruction == "HEALTHCHECK":
        text = text[text.index("CMD") + len("CMD"):].strip()
    if text.startswith("["):
        return shlex.join(json.loads(text))
    if instruction == "ENV":
        # NAME="value", as the shell reads it.
        return text
    if instruction == "RUN":
        while text.startswith("--mount="):
            _, _, text = text.partition(" ")
            text = text.lstrip()
    return text


stages = []
parser = DockerfileParser(fileobj=BytesIO(open(sys.argv[1], "rb").read()))
for line in parser.structure:
    instruction = line["instruction"]
    if instruction == "COMMENT":
        continue
    if instruction == "FROM":
        stages.append({})
    said = value(instruction, line["value"])
    assert instruction not in stages[-1], f"{instruction} twice in a stage"
    stages[-1][instruction] = said
build, final = stages
for name, stage in (("build", build), ("final", final)):
    fields = " ".join(f"[{instruction}]={shlex.quote(said)}" for instruction, said in stage.items())
    print(f"declare -A {name}=({fields})")
