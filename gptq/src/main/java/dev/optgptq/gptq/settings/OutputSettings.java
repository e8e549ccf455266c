package dev.optgptq.gptq.settings;

import java.nio.file.Path;

/**
 * Where the checkpoint goes.
 *
 * @param directory to write
 * @param overwrite whether an existing one is replaced
 * @param fresh whether what an interrupted run left is deleted instead of resumed from
 */
public record OutputSettings(Path directory, boolean overwrite, boolean fresh) {}
