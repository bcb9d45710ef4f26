#include <minidl/core/parallel.h>
#include <minidl/core/tensor.h>
#include <minidl/kernels/cpu/cache_size.h>
#include <minidl/kernels/cpu/gemm_kernel.h>
#include <minidl/kernels/cpu/outer_products.h>
#include <minidl/kernels/cpu/window_products.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace minidl::cpu {
namespace {

constexpr int64_t kLine = 16;                       // floats in a line of a cache
constexpr int64_t kPositions = 128;                 // of a block: a panel of either side stays in the first cache
constexpr int64_t kPositionsAlongRun = 256;         // where only a few rows of sums share the time of their loads
constexpr int64_t kTasks = 16;                      // aimed at: enough for many threads to end at about the same time
constexpr int64_t kMinTaskWork = int64_t{1} << 20;  // multiply-adds below which a task is not worth its start
constexpr int64_t kLeastSlice = 512, kLeastRows = 24;  // positions worth sums of their own, rows worth a task
constexpr int64_t kSlicesFloats = int64_t{8} << 20;    // of the sums of all slices

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// How the work is cut. The lanes of the sums are output channels, or where these fill their vectors worse, the values
/// of a window's row: sums [r, j of the row, k] or [r, k, j]. A task adds up a slice of the positions for all sums, or
/// when these are many for those of one tap row and a part of its rows.
struct Blocking {
  bool along_run;
  int64_t rows, columns;  // of the sums of one tap row
  int64_t sums_stride, sums_count;
  int64_t read;           // pixels that are read from the first one of a window's row on
  int64_t grads_stride;   // of packed rows of grad_output; 0: they are used in place
  int64_t block;          // positions of a block
  int64_t slices, slice;  // and positions of one
  int64_t tap_parts, row_parts;

  explicit Blocking(const WindowProducts& p) {
    const int64_t run = p.windows.run();
    along_run = run * GemmColumns(p.out_c).padded() > p.out_c * GemmColumns(run).padded();
    rows = along_run ? p.out_c : run;
    columns = along_run ? run : p.out_c;
    sums_stride = GemmColumns(columns).padded();
    sums_count = p.windows.k_h * rows * sums_stride;
    read = ceil_div(along_run ? sums_stride : run, p.windows.c);
    // Panels of rows that lie apart would crowd into a part of the first cache, were it not for an odd number of lines.
    const bool in_place = along_run || (columns == sums_stride && GemmColumns(columns).panels == 1);
    grads_stride = in_place ? 0 : (ceil_div(sums_stride, kLine) | 1) * kLine;
    block = along_run ? kPositionsAlongRun : kPositions;
    const int64_t tasks = std::clamp(p.positions * sums_count / kMinTaskWork, int64_t{1}, kTasks);
    slices = std::clamp(std::min(kSlicesFloats / sums_count, p.positions / kLeastSlice), int64_t{1}, tasks);
    slice = ceil_div(p.positions, slices);
    tap_parts = slices < tasks || sums_count > l2_floats() / 2 ? p.windows.k_h : 1;
    row_parts = std::clamp(tasks / (slices * tap_parts), int64_t{1}, ceil_div(rows, kLeastRows));
  }
  int64_t tasks() const { return slices * tap_parts * row_parts; }
  int64_t grads_count() const { return block * grads_stride; }
  int64_t copies_count(const Windows& windows) const { return block * std::max(read, windows.stride_w) * windows.c; }
};

class Products {
 public:
  explicit Products(const WindowProducts& products)
      : p_(products), windows_(p_.windows), b_(p_), sums_(Tensor::empty({b_.slices, b_.sums_count})) {
    const Windows& w = windows_;
    inside_begin_ = std::min(w.out_w, ceil_div(w.left, w.stride_w));
    const int64_t room = w.in_w - b_.read + w.left;
    inside_end_ = std::clamp(room < 0 ? 0 : room / w.stride_w + 1, inside_begin_, w.out_w);
  }

  void run() {
    float* sums = sums_.data<float>();
    parallel_for(0, b_.tasks(), 1, [&](int64_t task, int64_t) {
      const int64_t slice = task / b_.tap_parts / b_.row_parts, tap_part = task / b_.row_parts % b_.tap_parts,
                    row_part = task % b_.row_parts;
      add_part({.begin = slice * b_.slice,
                .end = std::min(p_.positions, (slice + 1) * b_.slice),
                .tap = tap_part * windows_.k_h / b_.tap_parts,
                .tap_end = (tap_part + 1) * windows_.k_h / b_.tap_parts,
                .row = row_part * b_.rows / b_.row_parts,
                .row_end = (row_part + 1) * b_.rows / b_.row_parts,
                .sums = sums + slice * b_.sums_count});
    });
    write();
  }

 private:
  struct Part {
    int64_t begin, end;    // positions
    int64_t tap, tap_end;  // tap rows
    int64_t row, row_end;  // of each tap row's sums
    float* sums;           // of the slice
  };

  /// The rows of grad_output of a block.
  struct Grads {
    const float* first;
    int64_t stride;
  };

  void add_part(const Part& part) const {
    Tensor grads_memory = Tensor::empty({b_.grads_count()}), copies_memory = Tensor::empty({b_.copies_count(windows_)});
    float *packed = grads_memory.data<float>(), *copies = copies_memory.data<float>();
    std::vector<OuterProducts::Span> spans;
    const int64_t tap_row = b_.rows * b_.sums_stride, step = windows_.stride_w * windows_.c;
    for (int64_t r = part.tap; r < part.tap_end; ++r) {
      float* sums = part.sums + r * tap_row;
      std::fill(sums + part.row * b_.sums_stride, sums + part.row_end * b_.sums_stride, 0.0f);
    }
    for (int64_t at = part.begin; at < part.end; at += b_.block) {
      const int64_t block_end = std::min(part.end, at + b_.block);
      Grads grads{p_.grad_output + at * p_.out_c, p_.out_c};
      if (b_.grads_stride > 0) {
        pack_grads(at, block_end, packed);
        grads = {packed, b_.grads_stride};
      }
      for (int64_t r = part.tap; r < part.tap_end; ++r) {
        find_spans(at, block_end, r, grads, copies, spans);
        for (OuterProducts::Span& span : spans) span.a += part.row;
        add_outer_products({.spans = spans.data(),
                            .span_count = static_cast<int64_t>(spans.size()),
                            .a_stride = b_.along_run ? grads.stride : step,
                            .b_stride = b_.along_run ? step : grads.stride,
                            .rows = part.row_end - part.row,
                            .columns = b_.columns,
                            .sums = part.sums + r * tap_row + part.row * b_.sums_stride,
                            .sums_stride = b_.sums_stride,
                            .ahead = b_.along_run ? 0 : kLine});
      }
    }
  }

  void pack_grads(int64_t begin, int64_t end, float* output) const {
    for (int64_t p = begin; p < end; ++p, output += b_.grads_stride) {
      std::copy_n(p_.grad_output + p * p_.out_c, p_.out_c, output);
      std::fill(output + p_.out_c, output + b_.sums_stride, 0.0f);
    }
  }

  /// The rows of windows that tap row r reads at positions [begin, end). Lines of zero padding are left out.
  void find_spans(int64_t begin, int64_t end, int64_t r, const Grads& grads, float* copy,
                  std::vector<OuterProducts::Span>& spans) const {
    const Windows& w = windows_;
    spans.clear();
    for (int64_t p = begin; p < end;) {
      const int64_t row = p / w.out_w, first = p % w.out_w, last = std::min(w.out_w, first + end - p);
      const int64_t i = padded_index(row % w.out_h * w.stride_h + r - w.top, w.in_h, w.mode);
      if (i >= 0) {
        const float* line = w.picture + (row / w.out_h * w.in_h + i) * w.in_w * w.c;
        const int64_t borders[4] = {first, std::clamp(inside_begin_, first, last), std::clamp(inside_end_, first, last),
                                    last};
        for (int part = 0; part < 3; ++part) {
          const int64_t from = borders[part], count = borders[part + 1] - from;
          if (count == 0) continue;
          const int64_t pixel = from * w.stride_w - w.left;
          const float* window = part == 1 ? line + pixel * w.c : copy;
          if (part != 1) copy = copy_pixels(line, pixel, (count - 1) * w.stride_w + b_.read, copy);
          const float* grad = grads.first + (p + from - first - begin) * grads.stride;
          b_.along_run ? spans.push_back({grad, window, count}) : spans.push_back({window, grad, count});
        }
      }
      p += last - first;
    }
  }

  /// Pixels [first, first + count) of a line continued by its padding; returns where the copy ends.
  float* copy_pixels(const float* line, int64_t first, int64_t count, float* copy) const {
    const Windows& w = windows_;
    for (int64_t j = first; j < first + count; ++j, copy += w.c) {
      const int64_t from = padded_index(j, w.in_w, w.mode);
      if (from < 0) {
        std::fill_n(copy, w.c, 0.0f);
      } else {
        std::copy_n(line + from * w.c, w.c, copy);
      }
    }
    return copy;
  }

  /// Adds the slices in f64.
  void write() const {
    const int64_t run = windows_.run(), depth = windows_.k_h * run, columns = b_.columns;
    const int64_t row_step = b_.along_run ? depth : 1, column_step = b_.along_run ? 1 : depth;
    const float* sums = std::as_const(sums_).data<float>();
    const int64_t grain = std::max<int64_t>(1, 4096 / columns);
    parallel_for(0, windows_.k_h * b_.rows, grain, [&](int64_t begin, int64_t end) {
      std::vector<double> total(static_cast<size_t>(columns));
      for (int64_t row = begin; row < end; ++row) {
        std::ranges::fill(total, 0.0);
        for (int64_t slice = 0; slice < b_.slices; ++slice) {
          const float* part = sums + slice * b_.sums_count + row * b_.sums_stride;
          for (int64_t j = 0; j < columns; ++j) total[static_cast<size_t>(j)] += static_cast<double>(part[j]);
        }
        float* to = p_.grad_weight + row / b_.rows * run + row % b_.rows * row_step;
        for (int64_t j = 0; j < columns; ++j, to += column_step) {
          const float sum = static_cast<float>(total[static_cast<size_t>(j)]);
          *to = p_.beta != 0.0f ? p_.beta * *to + sum : sum;
        }
      }
    });
  }

  const WindowProducts& p_;
  const Windows& windows_;
  Blocking b_;
  Tensor sums_;
  int64_t inside_begin_, inside_end_;  // windows of a row that are read in place
};

}  // namespace

void window_products(const WindowProducts& products) {
  Products(products).run();
}

int64_t window_products_workspace(const WindowProducts& products) {
  const Blocking blocking(products);
  const int64_t tasks = std::min<int64_t>(num_threads(), blocking.tasks());
  return static_cast<int64_t>(sizeof(float)) *
         (blocking.slices * blocking.sums_count +
          tasks * (blocking.grads_count() + blocking.copies_count(products.windows)));
}

}  // namespace minidl::cpu
