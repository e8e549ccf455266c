package dev.optgptq.calibrate.data;

/**
 * How documents become tokens.
 *
 * @param field of a document's record: a key, or keys with dots between them; text, or messages for the chat template
 * @param pack whether documents follow each other in a sequence, each ended by the model's end-of-sequence token
 */
public record DocumentForm(String field, Bos bos, boolean pack) {

    public static final DocumentForm DEFAULT = new DocumentForm("text", Bos.AUTO, false);
}
