package dev.optgptq.formats.model;

import java.nio.file.Path;

/**
 * A file beside the weights that belongs to the model.
 *
 * @param name its path in the model directory: "tokenizer.json", "original/params.json"
 * @param file where its content is: the file itself, or the destination of a link inside the model's repository
 */
public record Companion(Path name, Path file) {}
