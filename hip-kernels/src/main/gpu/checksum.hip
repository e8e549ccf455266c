// QuantOps.checksum: CRC-32C (RFC 3720, appendix B.4), of pieces side by side and then of their concatenation. A CRC without its
// first and last inversion is linear, and bytes of zero in front of a message do not change it: so pieces are cut from the end.
// Polynomials over GF(2) modulo the CRC's have bit 31 for x^0, as the CRC does.
#include "elements.h"

#define POLYNOMIAL 0x82F63B78u
#define ONE 0x80000000u
#define CHECK_THREADS 256
// Bytes of a thread.
#define PIECE 256
// Pieces that a block joins.
#define JOINED CHECK_THREADS

DEVICE u32 times_x(u32 a) { return a & 1 ? a >> 1 ^ POLYNOMIAL : a >> 1; }

DEVICE u32 product(u32 a, u32 b) {
    u32 sum = 0;
    for (u32 bit = ONE; bit != 0; bit >>= 1) {
        sum ^= a & bit ? b : 0;
        b = times_x(b);
    }
    return sum;
}

// x^(8 bytes): what a CRC is multiplied by when so many bytes follow.
DEVICE u32 after_bytes(u64 bytes) {
    u32 result = ONE;
    for (u32 square = ONE >> 8; bytes != 0; bytes >>= 1) {
        result = bytes & 1 ? product(result, square) : result;
        square = product(square, square);
    }
    return result;
}

// parts[i] = the CRC of piece i, without inversions; rows of bytes follow each other. The first piece may be shorter.
KERNEL(CHECK_THREADS) checksum_pieces(const u8* bytes, i64 stride, i64 columns, i64 total, u32* parts, i64 pieces) {
    SHARED(u32, table, 256);
    u32 entry = threadIdx.x;
    for (int bit = 0; bit < 8; bit++) {
        entry = times_x(entry);
    }
    table[threadIdx.x] = entry;
    __syncthreads();
    i64 piece = (i64)blockIdx.x * CHECK_THREADS + threadIdx.x;
    if (piece >= pieces) {
        return;
    }
    i64 end = total - (pieces - 1 - piece) * PIECE;
    i64 at = end > PIECE ? end - PIECE : 0;
    i64 row = at / columns;
    i64 column = at % columns;
    u32 crc = 0;
    for (; at < end; at++) {
        crc = table[(crc ^ bytes[row * stride + column]) & 255] ^ crc >> 8;
        column++;
        if (column == columns) {
            column = 0;
            row++;
        }
    }
    parts[piece] = crc;
}

// joined[block] = the CRC of up to 256 parts, of so many bytes each; they are cut from the end, too. Where the total is not negative,
// these are all, and the result is the CRC with its inversions.
KERNEL(CHECK_THREADS) checksum_join(const u32* parts, i64 count, i64 bytes, u32* joined, i64 total) {
    SHARED(u32, part, JOINED);
    i64 index = count - ((i64)gridDim.x - blockIdx.x) * JOINED + threadIdx.x;
    part[threadIdx.x] = index >= 0 ? parts[index] : 0;
    u32 factor = after_bytes(bytes);
    for (int left = JOINED / 2; left > 0; left /= 2) {
        __syncthreads();
        u32 sum = 0;
        if (threadIdx.x < left) {
            sum = product(part[2 * threadIdx.x], factor) ^ part[2 * threadIdx.x + 1];
        }
        __syncthreads();
        if (threadIdx.x < left) {
            part[threadIdx.x] = sum;
        }
        factor = product(factor, factor);
    }
    if (threadIdx.x == 0) {
        joined[blockIdx.x] = total < 0 ? part[0] : ~(part[0] ^ product(~0u, after_bytes(total)));
    }
}
