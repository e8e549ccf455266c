package dev.optgptq.gptq.settings;

import java.util.List;

/**
 * The program that runs a job.
 *
 * @param tool "opt-gptq"
 * @param version of this program
 * @param defaults which options were not given
 */
public record Origin(String tool, String version, List<String> defaults) {}
