#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/packed_gemm.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kTasks = 16;                      // aimed at: enough for many threads to end at about the same time
constexpr int64_t kMinTaskWork = int64_t{1} << 20;  // multiply-adds below which a task is not worth its start
constexpr int64_t kBufferSlack = 16;  // keeps rows of 4 KiB from falling on the same lines of the first cache
constexpr int64_t kPackedFloats = (16 << 20) / kFloat;   // of B at a time
constexpr int64_t kPartialFloats = (32 << 20) / kFloat;  // of all slices of a product that is cut along k

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// How a product [m, k] x [k, n] is cut. A task's rows of A, as deep as a block, and a panel of B stay in the second
/// cache: the panel streams from there while the rows pass by, each tile in turn.
struct Blocking {
  int64_t piece, depth;                 // k of one piece of a row and of one block, a multiple of it
  int64_t packed_depth, packed_panels;  // part of B that is packed at a time; packed_depth is a multiple of depth
  int64_t rows, panels;                 // of one task
  int64_t packed_floats;                // of the packed part of B

  /// `shared`: many threads work on the product; otherwise one, which keeps the packed part of B in its cache.
  Blocking(const PackedGemm& gemm, int64_t k, const GemmColumns& columns, bool shared);

 private:
  void cut_depth(int64_t k, int64_t run, int64_t deepest);
  void cut_tasks(const PackedGemm& gemm, const GemmColumns& columns);
};

/// Blocks of at most `deepest`, all about the same, in pieces that divide `run`.
void Blocking::cut_depth(int64_t k, int64_t run, int64_t deepest) {
  piece = std::max<int64_t>(1, std::min(run, deepest));
  while (run % piece != 0) --piece;
  const bool handy = piece >= std::min<int64_t>(run, 32);  // a length without such a divisor is cut anywhere
  if (!handy) piece = 1;
  const int64_t pieces = std::max<int64_t>(1, ceil_div(k, piece));
  depth = ceil_div(pieces, ceil_div(pieces, deepest / piece)) * piece;
  if (!handy || run == 0) piece = depth;
}

Blocking::Blocking(const PackedGemm& gemm, int64_t k, const GemmColumns& columns, bool shared) {
  const int64_t l2 = l2_floats(), panel_width = ceil_div(columns.vectors, columns.panels) * columns.lanes;
  const int64_t deepest = shared ? l2 / 8 / panel_width : l2 / 4 / columns.padded();
  cut_depth(k, gemm.run, std::clamp<int64_t>(deepest / 16 * 16, 128, 1024));
  const int64_t most_depth = std::max<int64_t>(1, kPackedFloats / (columns.padded() * depth)) * depth;
  packed_depth = shared ? std::min(k, most_depth) : depth;
  packed_panels =
      std::clamp<int64_t>(kPackedFloats / std::max<int64_t>(1, packed_depth * panel_width), 1, columns.panels);
  packed_floats = packed_depth * std::min(columns.padded(), packed_panels * panel_width);
  rows = ceil_div(gemm.m, ceil_div(gemm.m, std::max<int64_t>(48, l2 / 2 / depth)));
  panels = packed_panels;
  if (shared) cut_tasks(gemm, columns);
  rows = ceil_div(rows, 24) * 24;  // whole tiles of every height
}

/// Cuts in two what costs least, until there are enough tasks: rows of A are fetched once for each chunk of panels, B
/// passes through the cache once for each chunk of rows.
void Blocking::cut_tasks(const PackedGemm& gemm, const GemmColumns& columns) {
  const int64_t panel_work = columns.padded() / columns.panels * packed_depth;
  const auto enough = [&] {
    const bool small = rows * panels * panel_work < 2 * kMinTaskWork;
    return small || ceil_div(gemm.m, rows) * ceil_div(packed_panels, panels) >= kTasks;
  };
  const auto halve = [&](int64_t& extent, int64_t least) {
    while (!enough() && extent > least) extent = ceil_div(extent, 2);
  };
  if (!gemm.copied) halve(panels, 4);
  halve(rows, 96);
  halve(panels, 1);
  halve(rows, 24);
}

/// The part [k_begin, k_end) of a product.
class Product {
 public:
  Product(const PackedGemm& gemm, int64_t k_begin, int64_t k_end, const GemmEpilogue& epilogue, bool shared)
      : gemm_(gemm),
        epilogue_(epilogue),
        k_begin_(k_begin),
        k_end_(k_end),
        columns_(gemm.n),
        blocking_(gemm, k_end - k_begin, columns_, shared) {}

  void run() {
    packed_ = Tensor::empty({blocking_.packed_floats});
    int64_t k = k_begin_;
    do {
      const int64_t depth = std::min(blocking_.packed_depth, k_end_ - k);
      for (int64_t panel = 0; panel < columns_.panels; panel += blocking_.packed_panels) {
        const int64_t panel_end = std::min(columns_.panels, panel + blocking_.packed_panels);
        pack(k, depth, panel, panel_end);
        multiply(k, depth, panel, panel_end);
      }
      k += depth;
    } while (k < k_end_);
  }

 private:
  /// Packs B[k, k + depth) of the panels, each [depth, width].
  void pack(int64_t k, int64_t depth, int64_t panel_begin, int64_t panel_end) {
    float* packed = packed_.data<float>();
    const int64_t blocks = ceil_div(depth, blocking_.depth);
    const auto pack_block = [&](int64_t panel, int64_t from) {
      const int64_t block_depth = std::min(blocking_.depth, depth - from);
      const int64_t column = columns_.begin(panel), width = columns_.width(panel);
      const int64_t count = std::min(width, gemm_.n - column);
      float* output = packed + (column - columns_.begin(panel_begin)) * depth + from * width;
      if (count < width) std::fill_n(output, block_depth * width, 0.0f);
      gemm_.pack_columns(k + from, block_depth, column, count, output, width);
    };
    parallel_for(0, (panel_end - panel_begin) * blocks, ceil_div(blocks, 4), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) pack_block(panel_begin + i / blocks, i % blocks * blocking_.depth);
    });
  }

  void multiply(int64_t k, int64_t depth, int64_t panel_begin, int64_t panel_end) {
    const int64_t row_chunks = ceil_div(gemm_.m, blocking_.rows);
    const int64_t panel_chunks = ceil_div(panel_end - panel_begin, blocking_.panels);
    const float* packed = std::as_const(packed_).data<float>();
    parallel_for(0, row_chunks * panel_chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t row = task / panel_chunks * blocking_.rows;
        const int64_t panel = panel_begin + task % panel_chunks * blocking_.panels;
        GemmBlock block{.rows = std::min(blocking_.rows, gemm_.m - row),
                        .b = packed + (columns_.begin(panel) - columns_.begin(panel_begin)) * depth,
                        .b_depth = depth,
                        .layout = &columns_,
                        .panel_begin = panel,
                        .panel_end = std::min(panel_end, panel + blocking_.panels),
                        .columns = gemm_.n};
        run_task(row, k, block);
      }
    });
  }

  /// All of the packed depth for one block of C.
  void run_task(int64_t row, int64_t k, GemmBlock& block) {
    std::vector<int64_t> row_offset(static_cast<size_t>(block.rows));
    for (int64_t i = 0; i < block.rows; ++i) row_offset[static_cast<size_t>(i)] = gemm_.row_offset(row + i);
    Tensor buffer = Tensor::empty({block.rows, blocking_.depth + kBufferSlack});
    GemmRows rows{.row = row, .rows = block.rows, .buffer = buffer.data<float>()};
    rows.buffer_stride = blocking_.depth + kBufferSlack;
    rows.stride = block.rows + kGemmRowSlack;
    std::vector<const float*> values(static_cast<size_t>(blocking_.depth / blocking_.piece * rows.stride));
    rows.values = values.data();
    block.a = values.data();
    block.row_offset = row_offset.data();
    do {
      const int64_t depth = std::min(blocking_.depth, block.b_depth - block.b_begin);
      rows.piece = block.piece = std::min(blocking_.piece, depth);
      rows.pieces = block.pieces = depth / std::max<int64_t>(1, block.piece);
      rows.k = k + block.b_begin;
      gemm_.read_rows(rows);
      for (int64_t piece = 0; piece < rows.pieces; ++piece) {
        const float** end = rows.values + piece * rows.stride + rows.rows;
        std::fill_n(end, kGemmRowSlack, end[-1]);
      }
      block.first = rows.k == k_begin_;
      block.last = rows.k + depth == k_end_;
      gemm_block(block, epilogue_);
      block.b_begin += depth;
    } while (block.b_begin < block.b_depth);
  }

  const PackedGemm& gemm_;
  const GemmEpilogue& epilogue_;
  int64_t k_begin_, k_end_;
  GemmColumns columns_;
  Blocking blocking_;
  Tensor packed_;
};

/// Parts of k that are computed apart, so that a small result of a long sum still occupies all threads; their sums are
/// added in f64.
int64_t slices_of(int64_t m, int64_t n, int64_t k) {
  if (k < 8 * std::max({m, n, int64_t{128}})) return 1;
  return std::clamp<int64_t>(kPartialFloats / (m * n), 1, std::min(kTasks, k / 1024));
}

void run_sliced(const PackedGemm& gemm, int64_t slices) {
  Tensor partial = Tensor::empty({slices, gemm.m, gemm.n});
  float* sums = partial.data<float>();
  const int64_t size = gemm.m * gemm.n, length = ceil_div(gemm.k, slices);
  const PackedGemm slice{.m = gemm.m,
                         .n = gemm.n,
                         .k = gemm.k,
                         .read_rows = gemm.read_rows,
                         .pack_columns = gemm.pack_columns,
                         .row_offset = [&](int64_t row) { return row * gemm.n; },
                         .epilogue = {}};
  parallel_for(0, slices, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const GemmEpilogue epilogue{.c = sums + s * size};
      Product(slice, std::min(gemm.k, s * length), std::min(gemm.k, (s + 1) * length), epilogue, false).run();
    }
  });
  const GemmEpilogue& epilogue = gemm.epilogue;
  parallel_for(0, gemm.m, std::max<int64_t>(1, 4096 / gemm.n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* c = epilogue.c + gemm.row_offset(row);
      for (int64_t j = 0; j < gemm.n; ++j) {
        double sum = 0.0;
        for (int64_t s = 0; s < slices; ++s) sum += static_cast<double>(sums[s * size + row * gemm.n + j]);
        const float r = epilogue.alpha * static_cast<float>(sum);
        c[j] = epilogue.beta != 0.0f ? epilogue.beta * c[j] + r : r;
      }
    }
  });
}

}  // namespace

void packed_gemm(const PackedGemm& gemm) {
  if (gemm.m == 0 || gemm.n == 0) return;
  const bool plain = !gemm.epilogue.bias && !gemm.epilogue.relu && !gemm.epilogue.relu_mask;
  const int64_t slices = slices_of(gemm.m, gemm.n, gemm.k);
  if (plain && slices > 1) {
    run_sliced(gemm, slices);
  } else {
    Product(gemm, 0, gemm.k, gemm.epilogue, true).run();
  }
}

void transpose_rows(const float* input, int64_t stride, const GemmRows& rows) {
  transpose(input, stride, rows.rows, rows.piece, rows.buffer, rows.buffer_stride);
  for (int64_t i = 0; i < rows.rows; ++i) rows.values[i] = rows.buffer + i * rows.buffer_stride;
}

int64_t packed_gemm_workspace(int64_t m, int64_t n, int64_t k) {
  const auto bytes = [&](int64_t depth, bool shared, int64_t packed_copies) {
    const Blocking blocking({.m = m, .n = n, .k = depth}, depth, GemmColumns(n), shared);
    return kFloat *
           (packed_copies * blocking.packed_floats + num_threads() * blocking.rows * (blocking.depth + kBufferSlack));
  };
  const int64_t whole = bytes(k, true, 1), slices = slices_of(m, n, k);
  if (slices == 1) return whole;
  return std::max(whole, kFloat * slices * m * n + bytes(ceil_div(k, slices), false, num_threads()));
}

}  // namespace minidl::cpu
