package dev.optgptq.gptq.testing;

import java.util.Random;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** A tokenizer.json of byte-level BPE without merges: one token per byte, its id the byte's own number. */
public final class TinyTokenizer {

    /** Ids are below it; the models have a few rows more. */
    public static final int TOKENS = 256;

    private static final JsonMapper JSON = new JsonMapper();
    private static final String REST = """
            {"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
             "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
             "post_processor":null,
             "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
             "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
               "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
               "merges":[]}}""";

    private TinyTokenizer() {}

    public static String json() {
        ObjectNode tokenizer = (ObjectNode) JSON.readTree(REST);
        ObjectNode vocabulary = tokenizer.withObject("model").putObject("vocab");
        int shifted = TOKENS;
        for (int id = 0; id < TOKENS; id++) {
            boolean printable = (id > ' ' && id <= '~') || (id >= 0xa1 && id != 0xad);
            vocabulary.put(Character.toString(printable ? id : shifted++), id);
        }
        return JSON.writeValueAsString(tokenizer);
    }

    /** Made-up words, so that some tokens are frequent and follow each other: one token per character. */
    public static String text(long seed, int characters) {
        Random random = new Random(seed);
        String[] words = new String[60];
        for (int w = 0; w < words.length; w++) {
            StringBuilder word = new StringBuilder();
            for (int length = 2 + random.nextInt(7); length > 0; length--) {
                word.append((char) ('a' + random.nextInt(26)));
            }
            words[w] = word.toString();
        }
        StringBuilder text = new StringBuilder();
        while (text.length() < characters) {
            text.append(words[(int) (words.length * random.nextDouble() * random.nextDouble())]).append(' ');
        }
        return text.substring(0, characters);
    }
}
