"""Trains the small models of this folder and writes the ids that SentencePiece itself gives: make_golden.py TEXT (pip install sentencepiece)."""
import json
import sys

import sentencepiece as spm

TEXTS = ["The river runs through the old town.", "  two  spaces, and an end ", "caf\u00e9 na\u00efve \u4f60\u597d \U0001f600", "a\tb\nc",
         "x <user> y<user>", "\uff21\u00bd\u2460 wide", "1234567890 1,234.5", "", " ", "don't (stop) \u2014 'now'"]
FORMS = {
    "llama": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
    "gemma": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                  add_dummy_prefix=False, user_defined_symbols=["<user>", "\u2581\u2581"]),
    "unigram": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="nmt_nfkc"),
}

golden = {}
for name, form in FORMS.items():
    spm.SentencePieceTrainer.train(input=sys.argv[1], model_prefix=name, vocab_size=420, character_coverage=0.99, num_threads=1, **form)
    golden[name] = {text: spm.SentencePieceProcessor(model_file=name + ".model").encode(text) for text in TEXTS}
json.dump(golden, open("golden.json", "w"), indent=1)
