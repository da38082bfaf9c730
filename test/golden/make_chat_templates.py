"""Makes chat-templates.json: what transformers makes of conversations with the templates beside it.

Needs the packages of requirements.txt. From the repository's root:

    python3 test/golden/make_chat_templates.py && npm run format

The templates are written for this, each in the manner of a family. The clock stands at 5 minutes past noon
on 7 March 2025.
"""

import datetime
import json
import pathlib

import jinja2
from transformers.utils import chat_template_utils

NOON = datetime.datetime(2025, 3, 7, 12, 5, 9)
TOKENS = {"bos_token": "<|start|>", "eos_token": "<|end|>"}


class StoppedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOON


def turns(*contents: str, system: str | None = None) -> list[dict]:
    first = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return first + [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_brightness",
            "description": "Dims a lamp; \"0\" is off, größer is brighter <&>.",
            "parameters": {
                "type": "object",
                "properties": {"lamp": {"type": "string"}, "value": {"type": "number", "minimum": 0.5}},
                "required": ["lamp"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}},
]

CASES = [
    {"messages": turns("Is the lamp on?")},
    {"messages": turns("  Is the lamp on? \n", "Yes.", "Turn it off.\n\n", system=" Be kind. \n")},
    {"messages": turns("Größe 温度 🦙 {{ x }} <b>&amp;\\n", system="'quotes' \"double\"")},
    {"messages": turns("Why?", "<think>\nHm.\n</think>\n\nBecause.", "And?")},
    {"messages": turns("Why?", "<think>\nHm.\n</think>\n\nBecause."), "add_generation_prompt": False},
    {"messages": turns("Dim it.", system="Be kind."), "tools": TOOLS},
    {"messages": turns("Dim it."), "tools": TOOLS},
    {"messages": turns("One.", "Two.", "Three."), "add_generation_prompt": False},
    {"messages": turns("", system="")},
    {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "No."}]},
]


def render(template: str, case: dict) -> dict:
    options = {"tools": None, "add_generation_prompt": True, **case}
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            [options["messages"]],
            tools=options["tools"],
            chat_template=template,
            add_generation_prompt=options["add_generation_prompt"],
            **TOKENS,
        )
        return {**options, "rendered": rendered[0]}
    except jinja2.exceptions.TemplateError as error:
        return {**options, "refused": str(error)}


def main() -> None:
    chat_template_utils.datetime = StoppedClock
    here = pathlib.Path(__file__).parent
    goldens = {
        path.stem: [render(path.read_text(), case) for case in CASES]
        for path in sorted((here / "chat-templates").glob("*.jinja"))
    }
    text = json.dumps({"tokens": TOKENS, "templates": goldens}, ensure_ascii=False)
    (here / "chat-templates.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
