#pragma once
// Loaders of the matrix products on tensor cores: a thread's share of the copies that bring a tile of windows and one
// of weights to shared memory, in the layout of mma_tile.cuh. All chunks that a thread copies in a step stand at the
// same place among the terms, so it walks over taps once for all of them: no division, and additions to its addresses.
// Where nothing is read, addresses may lie anywhere.
#include <minidl/kernels/cuda/gather_mma.h>
#include <minidl/kernels/cuda/mma_tile.cuh>
#include <minidl/kernels/cuda/windows.cuh>

#include <cstdint>

namespace minidl::cuda {

/// The terms (tap, channel) that a thread copies: kStep further with each step.
template <typename Element>
struct TermWalk {
  static constexpr int kChunk = kChunkBytes / int{sizeof(Element)}, kStep = kChunks * kChunk;

  TapPlace tap;
  int term;        // of the window
  int64_t offset;  // bytes from the window's first term to this one, in a picture without padding

  MINIDL_DEVICE TermWalk(const Windows& windows, int step)
      : term(step * kStep + static_cast<int>(threadIdx.x) % kChunks * kChunk) {
    tap = tap_place(windows, term);
    offset = int64_t{sizeof(Element)} * ((tap.r * windows.in_w + tap.s) * windows.in_c + tap.c);
  }
  /// From now on, terms of a row without taps, which begins at term number `first`.
  MINIDL_DEVICE void begin_row(int first) {
    tap = {kMostMmaTaps, kMostMmaTaps, 0};
    offset = int64_t{sizeof(Element)} * (term - first);
  }
  MINIDL_DEVICE bool in_row() const { return tap.s == kMostMmaTaps; }
  MINIDL_DEVICE void advance_in_row() {
    term += kStep;
    offset += kRowBytes;
  }
  MINIDL_DEVICE void advance(const Windows& windows) {
    const int row = tap.r;
    tap.advance(windows, kStep);
    term += kStep;
    offset += kRowBytes + int64_t{sizeof(Element)} * ((tap.r - row) * (windows.in_w - windows.k_w) * windows.in_c);
  }
};

/// The rows of a tile that a thread copies chunks of: first, first + kAtOnce, ...
template <int kRows, int kThreads>
struct TileRows {
  static constexpr int kAtOnce = kThreads / kChunks, kCount = (kRows + kAtOnce - 1) / kAtOnce;
  static_assert(kAtOnce % 8 == 0, "rows of a thread are alike to the swizzle");

  MINIDL_DEVICE static int first() { return static_cast<int>(threadIdx.x) / kChunks; }
  MINIDL_DEVICE static bool copies() {
    if constexpr (kRows >= kAtOnce) {
      return true;
    } else {
      return first() < kRows;
    }
  }
  /// Where in the tile the chunk of the i-th of them goes.
  MINIDL_DEVICE static int place(int i) {
    return swizzled(first(), static_cast<int>(threadIdx.x) % kChunks) + i * kAtOnce * kRowBytes;
  }
};

/// Windows of a picture that is continued by zeros: of each, a mask says which of kMostMmaTaps rows and columns of taps
/// are inside, the rows in its lower half, and with the next bit of both whether there is such a window.
template <typename Element, int kRows, int kThreads>
struct ZeroPaddedWindows {
  using Rows = TileRows<kRows, kThreads>;
  static constexpr bool kReadsRows = false;

  static constexpr uint32_t kIsThere = 0x10001u << kMostMmaTaps;

  const std::byte* source;
  int begin[Rows::kCount];  // chunks from `source` to what tap (0, 0) would read
  uint32_t inside[Rows::kCount];

  MINIDL_DEVICE ZeroPaddedWindows(const Windows& windows, const Element* picture, int count, int window0)
      : source(reinterpret_cast<const std::byte*>(picture)) {
    const int chunks = windows.in_c / TermWalk<Element>::kChunk;
    MINIDL_UNROLL
    for (int i = 0; i < Rows::kCount; ++i) {
      const int window = window0 + Rows::first() + i * Rows::kAtOnce;
      const WindowPlace place = window_place(windows, window, count);
      const int64_t pixel = int64_t{place.pixels} + int64_t{place.row} * windows.in_w + place.column;
      begin[i] = static_cast<int>(pixel * chunks);
      inside[i] = place.pixels < 0 ? 0
                                   : taps_inside(place.row, windows.in_h, windows.k_h) |
                                         taps_inside(place.column, windows.in_w, windows.k_w) << 16 | kIsThere;
    }
  }
  /// Bit t: whether i + t is in [0, extent), for t < taps <= kMostMmaTaps.
  MINIDL_DEVICE static uint32_t taps_inside(int i, int extent, int taps) {
    const int begin = min(max(-i, 0), kMostMmaTaps), end = max(min(extent - i, taps), 0);
    return ((1u << end) - 1) & ~((1u << begin) - 1);
  }
  /// `any`: whether the windows have these terms.
  MINIDL_DEVICE void fetch(const Windows&, const TermWalk<Element>& terms, bool any, std::byte* tile) const {
    const uint32_t tap = 1u << terms.tap.r | 0x10000u << terms.tap.s;
    MINIDL_UNROLL
    for (int i = 0; i < Rows::kCount; ++i) {
      async_copy<kChunkBytes>(tile + Rows::place(i), source + terms.offset + int64_t{begin[i]} * kChunkBytes,
                              any && (inside[i] & tap) == tap);
    }
  }
};

/// The same, and then rows of other terms, one for each window (AddedRows).
template <typename Element, int kRows, int kThreads>
struct WindowsAndRows : ZeroPaddedWindows<Element, kRows, kThreads> {
  using Base = ZeroPaddedWindows<Element, kRows, kThreads>;
  using typename Base::Rows;
  static constexpr bool kReadsRows = true;

  using Base::Base;
  /// From now on.
  MINIDL_DEVICE void begin_rows(const Element* rows, int terms, int window0) {
    this->source = reinterpret_cast<const std::byte*>(rows);
    MINIDL_UNROLL
    for (int i = 0; i < Rows::kCount; ++i) {
      const int window = window0 + Rows::first() + i * Rows::kAtOnce;
      this->begin[i] = window * (terms / TermWalk<Element>::kChunk);
    }
  }
};

/// Windows of a picture that is continued by its own pixels, reflected once at the most: of each, the pixel that a tap
/// reads is looked for when the tap changes.
template <typename Element, int kRows, int kThreads>
struct ContinuedWindows {
  using Rows = TileRows<kRows, kThreads>;
  static constexpr bool kReadsRows = false;

  const Element* picture;
  WindowPlace places[Rows::kCount];
  TapPlace tap{-1, -1, 0};              // for which pixels were looked for
  const Element* pixels[Rows::kCount];  // that it reads

  MINIDL_DEVICE ContinuedWindows(const Windows& windows, const Element* of, int count, int window0) : picture(of) {
    MINIDL_UNROLL
    for (int i = 0; i < Rows::kCount; ++i) {
      places[i] = window_place(windows, window0 + Rows::first() + i * Rows::kAtOnce, count);
    }
  }
  MINIDL_DEVICE void fetch(const Windows& windows, const TermWalk<Element>& terms, bool any, std::byte* tile) {
    if (terms.tap.r != tap.r || terms.tap.s != tap.s) {
      tap = terms.tap;
      MINIDL_UNROLL
      for (int i = 0; i < Rows::kCount; ++i) {
        const int pixel = pixel_read(windows, places[i].row + tap.r, places[i].column + tap.s).index;
        pixels[i] = picture + int64_t{places[i].pixels + pixel} * windows.in_c;
      }
    }
    MINIDL_UNROLL
    for (int i = 0; i < Rows::kCount; ++i) {
      async_copy<kChunkBytes>(tile + Rows::place(i), pixels[i] + terms.tap.c, any && places[i].pixels >= 0);
    }
  }
};

/// Filters: rows of `length` terms.
template <typename Element, int kRows, int kThreads>
struct Filters {
  using Rows = TileRows<kRows, kThreads>;

  const Element* source;  // the chunk of the first row
  int remaining;          // filters from the first row on

  MINIDL_DEVICE Filters(const Element* weight, int length, int channels, int channel0, int term)
      : source(weight + static_cast<int64_t>(channel0 + Rows::first()) * length + term),
        remaining(channels - channel0 - Rows::first()) {}
  /// From now on, rows of `matrix`, of other terms.
  MINIDL_DEVICE void begin_rows(const Element* matrix, int terms, int channel0, int term) {
    source = matrix + static_cast<int64_t>(channel0 + Rows::first()) * terms + term;
  }
  /// Starts the copies, and goes to the next step. `length` of a row.
  MINIDL_DEVICE void fetch(int length, bool any, std::byte* tile) {
    const int64_t apart = static_cast<int64_t>(Rows::kAtOnce) * length;
    if (Rows::copies()) {
      MINIDL_UNROLL
      for (int i = 0; i < Rows::kCount; ++i) {
        async_copy<kChunkBytes>(tile + Rows::place(i), source + i * apart, any && i * Rows::kAtOnce < remaining);
      }
    }
    source += TermWalk<Element>::kStep;
  }
};

}  // namespace minidl::cuda
