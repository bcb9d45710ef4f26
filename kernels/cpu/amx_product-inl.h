// The loops of AmxProduct and WindowProduct over tile operations that come as a class, for the files that have one:
//   zero<tile>(), load<tile>(from, bytes between rows), store<tile>(to, bytes between rows), multiply<sum, a, b>()
// with tiles of 16 rows of 64 bytes; multiply adds the product of a [16, 32] and b [16 pairs, 16, 2] to sum [16, 16].
#pragma once
#include <minidl/kernels/cpu/amx_product.h>

#include <algorithm>

namespace minidl::cpu {

/// Blocks of A and B along the depth, multiplied to one block of C.
struct AmxBlock {
  const uint16_t *a, *b;
  int64_t depth;
  float* c;
  bool add;  // to what C has
};

/// kHalves: 1 when only the first 16 rows exist.
template <class Tiles, int kParts, int kHalves>
inline void multiply_block(Tiles& tiles, const AmxBlock& block) {
  constexpr int64_t kHalf = kAmxBlockCount / 2, kRow = 64, kSumRow = kAmxBlock * sizeof(float), kSumHalf = 16;
  float* lower = block.c + kSumHalf * kAmxBlock;
  if (block.add) {
    tiles.template load<0>(block.c, kSumRow);
    tiles.template load<1>(block.c + kSumHalf, kSumRow);
    if (kHalves == 2) tiles.template load<2>(lower, kSumRow);
    if (kHalves == 2) tiles.template load<3>(lower + kSumHalf, kSumRow);
  } else {
    tiles.template zero<0>();
    tiles.template zero<1>();
    tiles.template zero<2>();
    tiles.template zero<3>();
  }
  const uint16_t *a = block.a, *b = block.b;
  const auto load_a = [&](int part) __attribute__((always_inline)) {
    tiles.template load<4>(a + part * kAmxBlockCount, kRow);
    if (kHalves == 2) tiles.template load<5>(a + part * kAmxBlockCount + kHalf, kRow);
  };
  const auto load_b = [&](int part) __attribute__((always_inline)) {
    tiles.template load<6>(b + part * kAmxBlockCount, kRow);
    tiles.template load<7>(b + part * kAmxBlockCount + kHalf, kRow);
  };
  const auto multiply = [&]() __attribute__((always_inline)) {
    tiles.template multiply<0, 4, 6>();
    tiles.template multiply<1, 4, 7>();
    if (kHalves == 2) tiles.template multiply<2, 5, 6>();
    if (kHalves == 2) tiles.template multiply<3, 5, 7>();
  };
  for (int64_t i = 0; i < block.depth; ++i, a += kParts * kAmxBlockCount, b += kParts * kAmxBlockCount) {
    // Small products first; from one to the next only one operand changes.
    if constexpr (kParts == 1) {
      load_a(0), load_b(0), multiply();
    } else if constexpr (kParts == 2) {
      load_a(1), load_b(0), multiply();
      load_a(0), multiply();
      load_b(1), multiply();
    } else {
      load_a(2), load_b(0), multiply();
      load_a(1), multiply();
      load_b(1), multiply();
      load_a(0), multiply();
      load_b(2), multiply();
      load_b(0), multiply();
    }
  }
  tiles.template store<0>(block.c, kSumRow);
  tiles.template store<1>(block.c + kSumHalf, kSumRow);
  if (kHalves == 2) tiles.template store<2>(lower, kSumRow);
  if (kHalves == 2) tiles.template store<3>(lower + kSumHalf, kSumRow);
}

template <class Tiles, int kParts>
inline void multiply_point(Tiles& tiles, const AmxProduct& p, int64_t point) {
  constexpr int64_t kPart = kParts * kAmxBlockCount;
  const int64_t row_blocks = (p.rows + kAmxBlock - 1) / kAmxBlock;
  for (int64_t column = 0; column < p.columns; ++column) {
    for (int64_t begin = 0; begin < p.depth; begin += p.depth_step) {
      const int64_t depth = std::min(p.depth_step, p.depth - begin);
      const uint16_t* b = p.b + point * p.b_plane + (column * p.depth + begin) * kPart;
      for (int64_t row = 0; row < row_blocks; ++row) {
        const AmxBlock block{.a = p.a + point * p.a_plane + (row * p.depth + begin) * kPart,
                             .b = b,
                             .depth = depth,
                             .c = p.c + point * p.c_plane + (column * p.c_rows + row * kAmxBlock) * kAmxBlock,
                             .add = p.add || begin > 0};
        if (p.rows - row * kAmxBlock > kAmxBlock / 2) {
          multiply_block<Tiles, kParts, 2>(tiles, block);
        } else {
          multiply_block<Tiles, kParts, 1>(tiles, block);
        }
      }
    }
  }
}

template <class Tiles>
inline void multiply_with(const AmxProduct& product) {
  Tiles tiles;
  for (int64_t point = 0; point < product.points; ++point) {
    if (product.parts == 1) {
      multiply_point<Tiles, 1>(tiles, product, point);
    } else if (product.parts == 2) {
      multiply_point<Tiles, 2>(tiles, product, point);
    } else {
      multiply_point<Tiles, 3>(tiles, product, point);
    }
  }
}

template <class Tiles>
inline void multiply_windows_with(const WindowProduct& p) {
  constexpr int64_t kHalf = kAmxBlockCount / 2, kRow = 64, kSumRow = kAmxBlock * sizeof(float), kSumHalf = 16;
  const int64_t stride = p.pixel * static_cast<int64_t>(sizeof(uint16_t));
  Tiles tiles;
  for (int64_t begin = 0; begin < std::max<int64_t>(1, p.depth); begin += p.depth_step) {
    const int64_t end = std::min(p.depth, begin + p.depth_step);
    for (int64_t block = 0; block < p.blocks; ++block) {
      float *upper = p.sums + block * kAmxBlockCount, *lower = upper + kSumHalf * kAmxBlock;
      if (begin > 0) {
        tiles.template load<0>(upper, kSumRow);
        tiles.template load<1>(upper + kSumHalf, kSumRow);
        tiles.template load<2>(lower, kSumRow);
        tiles.template load<3>(lower + kSumHalf, kSumRow);
      } else {
        tiles.template zero<0>();
        tiles.template zero<1>();
        tiles.template zero<2>();
        tiles.template zero<3>();
      }
      const uint16_t* windows = p.picture + p.first[block] * p.pixel;
      for (int64_t step = begin; step < end; ++step) {
        const uint16_t *a = windows + p.steps[step].offset, *b = p.filters + step * kAmxBlockCount;
        tiles.template load<6>(b, kRow);
        tiles.template load<4>(a, stride);
        tiles.template multiply<0, 4, 6>();
        tiles.template load<7>(b + kHalf, kRow);
        tiles.template multiply<1, 4, 7>();
        tiles.template load<5>(a + kSumHalf * p.pixel, stride);
        tiles.template multiply<2, 5, 6>();
        tiles.template multiply<3, 5, 7>();
      }
      tiles.template store<0>(upper, kSumRow);
      tiles.template store<1>(upper + kSumHalf, kSumRow);
      tiles.template store<2>(lower, kSumRow);
      tiles.template store<3>(lower + kSumHalf, kSumRow);
    }
  }
}

}  // namespace minidl::cpu
