// Moving elements: copy, gather, transpose, fill. Elements are moved as bits, so kernels know sizes and not dtypes.
#include "elements.h"

DEVICE void move(const void* source, i64 from, void* target, i64 to, int bytes) {
    switch (bytes) {
        case 1: ((u8*)target)[to] = ((const u8*)source)[from]; break;
        case 2: ((u16*)target)[to] = ((const u16*)source)[from]; break;
        case 4: ((u32*)target)[to] = ((const u32*)source)[from]; break;
        default: ((u64*)target)[to] = ((const u64*)source)[from]; break;
    }
}

// target[i] = source[order[i]], or source[i] where order is null. A row that the source lacks is left as it is.
KERNEL(256) gather_rows(const void* source, i64 sourceStride, i64 sourceRows, const int* order, void* target,
                        i64 targetStride, int bytes, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 from = order == 0 ? row : order[row];
        if (from >= 0 && from < sourceRows) {
            move(source, from * sourceStride + column, target, row * targetStride + column, bytes);
        }
    }
}

// target[i, j] = source[i, order[j]]. A column that the source lacks is left as it is.
KERNEL(256) gather_columns(const void* source, i64 sourceStride, i64 sourceColumns, const int* order, void* target,
                           i64 targetStride, int bytes, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 from = order[column];
        if (from >= 0 && from < sourceColumns) {
            move(source, row * sourceStride + from, target, row * targetStride + column, bytes);
        }
    }
}

// target[i, j] = source[order[i], order[j]], both [n, n].
KERNEL(256) gather_symmetric(const float* source, i64 sourceStride, const int* order, float* target, i64 targetStride,
                             i64 n) {
    FOR_CHUNK(row, column, n) {
        i64 i = order[row];
        i64 j = order[column];
        if (i >= 0 && i < n && j >= 0 && j < n) {
            target[row * targetStride + column] = source[i * sourceStride + j];
        }
    }
}

// Every element = value; kind is 4 for F32, 8 for F64, 0 for I32.
KERNEL(256) fill(void* target, i64 stride, int kind, float value, i64 columns) {
    FOR_CHUNK(row, column, columns) {
        i64 at = row * stride + column;
        if (kind == 8) {
            ((double*)target)[at] = value;
        } else if (kind == 4) {
            ((float*)target)[at] = value;
        } else {
            ((int*)target)[at] = (int)value;
        }
    }
}

#define TILE 32
// Rows of a tile that 256 threads read at a time.
#define TILE_ROWS 8

template <class T> DEVICE void transpose_tile(const T* source, i64 sourceStride, i64 rows, i64 columns, T* target,
                                              i64 targetStride) {
    // One column of padding: both sides then touch all banks.
    SHARED(T, tile, TILE * (TILE + 1));
    int x = threadIdx.x % TILE;
    int y = threadIdx.x / TILE;
    i64 left = (i64)blockIdx.x * TILE;
    i64 top = (i64)blockIdx.y * TILE;
    for (int i = y; i < TILE; i += TILE_ROWS) {
        if (top + i < rows && left + x < columns) {
            tile[i * (TILE + 1) + x] = source[(top + i) * sourceStride + left + x];
        }
    }
    __syncthreads();
    for (int i = y; i < TILE; i += TILE_ROWS) {
        if (left + i < columns && top + x < rows) {
            target[(left + i) * targetStride + top + x] = tile[x * (TILE + 1) + i];
        }
    }
}

// target [columns, rows] = source [rows, columns]^T; a block per tile.
KERNEL(256) transpose1(const u8* source, i64 sourceStride, i64 rows, i64 columns, u8* target, i64 targetStride) {
    transpose_tile(source, sourceStride, rows, columns, target, targetStride);
}

KERNEL(256) transpose2(const u16* source, i64 sourceStride, i64 rows, i64 columns, u16* target, i64 targetStride) {
    transpose_tile(source, sourceStride, rows, columns, target, targetStride);
}

KERNEL(256) transpose4(const u32* source, i64 sourceStride, i64 rows, i64 columns, u32* target, i64 targetStride) {
    transpose_tile(source, sourceStride, rows, columns, target, targetStride);
}

// h[i, j] = h[j, i] for i > j, in place: a block takes the tile (x, y) above the diagonal to the tile (y, x) below it.
KERNEL(256) symmetrize(float* h, i64 stride, i64 n) {
    SHARED(float, tile, TILE * (TILE + 1));
    if (blockIdx.y > blockIdx.x) {
        return;
    }
    int x = threadIdx.x % TILE;
    int y = threadIdx.x / TILE;
    i64 left = (i64)blockIdx.x * TILE;
    i64 top = (i64)blockIdx.y * TILE;
    for (int i = y; i < TILE; i += TILE_ROWS) {
        if (top + i < n && left + x < n) {
            tile[i * (TILE + 1) + x] = h[(top + i) * stride + left + x];
        }
    }
    __syncthreads();
    for (int i = y; i < TILE; i += TILE_ROWS) {
        if (left + i < n && top + x < n && left + i > top + x) {
            h[(left + i) * stride + top + x] = tile[x * (TILE + 1) + i];
        }
    }
}

// values[i] = h[i, i]
KERNEL(256) diagonal(const float* h, i64 stride, float* values, i64 n) {
    i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
    if (i < n) {
        values[i] = h[i * stride + i];
    }
}

// h[i, i] = values[i]
KERNEL(256) set_diagonal(float* h, i64 stride, const float* values, i64 n) {
    i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
    if (i < n) {
        h[i * stride + i] = values[i];
    }
}
