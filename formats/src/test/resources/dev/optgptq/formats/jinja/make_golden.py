"""Writes golden.json: what Jinja 3.1.6, set up as transformers' apply_chat_template does it, makes of the templates here."""
import datetime, json, pathlib
import jinja2, jinja2.ext, jinja2.sandbox


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def user(text): return {"role": "user", "content": text}
def assistant(text): return {"role": "assistant", "content": text}
def system(text): return {"role": "system", "content": text}


CASES = {
    "one turn": ([user("  Where is York? \n")], True),
    "with a system message": ([system(" Be brief. "), user('Hi <b>"you"</b> \u00fc\n')], True),
    "two turns and an answer": ([user("Hi"), assistant("<think>\nhm\n</think>\n\nHello."), user("And now?"),
                                assistant("<think>\nbye?\n</think>\n\nBye.")], False),
    "two answers in a row": ([assistant("B"), assistant("C")], True),
}
here = pathlib.Path(__file__).parent
env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                   extensions=[Generation, jinja2.ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda form: datetime.datetime(2026, 11, 30, 9, 5, 7).strftime(form)
golden = []
for file in sorted(here.glob("*.jinja")):
    template = env.from_string(file.read_text())
    for name, (messages, generate) in CASES.items():
        try:
            text = template.render(messages=messages, add_generation_prompt=generate, bos_token="<s>",
                                   eos_token="</s>", tools=None, documents=None)
        except jinja2.exceptions.TemplateError:
            text = None
        golden.append({"template": file.name, "case": name, "messages": messages, "generate": generate, "text": text})
(here / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
