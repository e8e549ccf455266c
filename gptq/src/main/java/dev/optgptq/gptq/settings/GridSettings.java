package dev.optgptq.gptq.settings;

import dev.optgptq.formats.packed.CheckpointFormat;

/**
 * The grid of the codes.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize inputs per scale, -1 for all
 * @param symmetric whether the grid is symmetric
 * @param positiveScales whether no scale may be negative
 * @param format of the checkpoint
 */
public record GridSettings(int bits, int groupSize, boolean symmetric, boolean positiveScales,
        CheckpointFormat format) {}
