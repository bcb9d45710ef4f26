// The two matrix products of a CUDA device in fp32, called by themselves, with everything that they can do, on shapes
// around the edges of their tiles. Skipped where there is no device.
#include <minidl/core/bit_mask.h>
#include <minidl/core/cuda/stream.h>
#include <minidl/kernels/cuda/gather_product.h>
#include <minidl/kernels/cuda/outer_product.h>
#include <support/compare.h>
#include <support/cuda_device.h>
#include <support/masks.h>
#include <support/random_tensors.h>

namespace minidl::cuda {
namespace {

using test::equals;
using test::kCudaDevice;
using test::on_cuda_device;
using test::random_integers;
using CudaKernels = test::OnCudaDevice;

size_t at(int64_t i) {
  return static_cast<size_t>(i);
}

/// What tap (r, s) and channel c of window (n, h, w) read.
double value_read(const Windows& windows, const Tensor& picture, int n, int h, int w, int r, int s, int c) {
  const int64_t i = padded_index(h * windows.stride_h + windows.begin_h + r, windows.in_h, windows.mode);
  const int64_t j = padded_index(w * windows.stride_w + windows.begin_w + s, windows.in_w, windows.mode);
  if (i < 0 || j < 0) return 0.0;
  return picture.span<float>()[at(((n * windows.in_h + i) * windows.in_w + j) * windows.in_c + c)];
}

template <typename Body>
void for_windows(const Windows& windows, const Body& body) {
  for (int n = 0; n < windows.n; ++n) {
    for (int h = 0; h < windows.windows_h; ++h) {
      for (int w = 0; w < windows.windows_w; ++w) body(n, h, w);
    }
  }
}
template <typename Body>
void for_taps(const Windows& windows, const Body& body) {
  for (int r = 0; r < windows.k_h; ++r) {
    for (int s = 0; s < windows.k_w; ++s) {
      for (int c = 0; c < windows.in_c; ++c) body(r, s, c);
    }
  }
}

struct Epilogue {
  bool bias = false, mask = false, positive = false;
};

/// gather_product() on integers against its formula; `out` without pointers.
void check_gather(const Windows& windows, GatherOutput out, const Epilogue& with = {}, bool aligned = true) {
  const int64_t pitch = out.pitch ? out.pitch : out.channels;
  const Tensor picture = random_integers({windows.n, windows.in_h, windows.in_w, windows.in_c}, 1);
  const Tensor weight = random_integers({out.channels, windows.k_h, windows.k_w, windows.in_c}, 2);
  const Tensor bias = random_integers({out.channels}, 3);
  const Shape shape{windows.n, out.out_h, out.out_w, pitch};
  const Tensor before = out.beta == 0.0f ? Tensor::full(shape, NAN) : random_integers(shape, 4);
  const BitMask mask = test::positive(random_integers(shape, 5));

  std::vector<double> expected = test::to_doubles(before);
  std::vector<uint8_t> bits(at((before.count() + 7) / 8), 0xff);
  for_windows(windows, [&](int n, int h, int w) {
    const int64_t row = int64_t{n} * out.out_h + h * out.out_stride_h + out.out_begin_h;
    const int64_t pixel = row * out.out_w + w * out.out_stride_w + out.out_begin_w;
    for (int k = 0; k < out.channels; ++k) {
      double sum = 0.0;
      int64_t tap = k * windows.length();
      for_taps(windows, [&](int r, int s, int c) {
        sum += value_read(windows, picture, n, h, w, r, s, c) * weight.span<float>()[at(tap++)];
      });
      sum = sum * out.scale + (with.bias ? bias.span<float>()[at(k)] : 0.0);
      if (out.relu) sum = std::max(sum, 0.0);
      const int64_t i = pixel * pitch + k;
      if (with.mask && !mask.span()[i]) sum = 0.0;
      expected[at(i)] = (out.beta == 0.0f ? 0.0 : out.beta * expected[at(i)]) + sum;
      if (expected[at(i)] <= 0.0) bits[at(i / 8)] &= static_cast<uint8_t>(~(1u << i % 8));
    }
  });

  const Tensor picture_there = on_cuda_device(picture, aligned), weight_there = on_cuda_device(weight);
  const Tensor bias_there = on_cuda_device(bias);
  const BitMask mask_there = mask.to(kCudaDevice);
  Tensor output = on_cuda_device(before), positive = Tensor::empty({std::ssize(bits)}, Dtype::u8).to(kCudaDevice);
  std::vector<uint8_t> ones(bits.size(), 0xff);
  copy(positive.raw(), kCudaDevice, ones.data(), Device::cpu(), positive.bytes());
  out.output = output.data<float>();
  if (with.bias) out.bias = bias_there.data<float>();
  if (with.mask) out.mask = mask_there.span();
  if (with.positive) out.positive = positive.data<uint8_t>();
  gather_product(windows, picture_there.data<float>(), weight_there.data<float>(), out, current_stream());

  // Pixels that no window writes keep what was there, NaN with beta 0.
  const Tensor result = output.to(Device::cpu());
  for (int64_t i = 0; i < result.count(); ++i) {
    const double value = static_cast<double>(result.span<float>()[at(i)]);
    if (std::isnan(expected[at(i)]) ? !std::isnan(value) : value != expected[at(i)]) {
      FAIL() << "element " << i << " of " << shape.str() << " is " << value << ", expected " << expected[at(i)];
    }
  }
  if (!with.positive) return;
  const Tensor written = positive.to(Device::cpu());
  for (size_t i = 0; i < bits.size(); ++i) EXPECT_EQ(written.data<uint8_t>()[i], bits[i]) << "byte " << i;
}

Windows pixels(int count, int channels) {
  return {.n = 1, .in_h = 1, .in_w = count, .in_c = channels, .windows_h = 1, .windows_w = count};
}
GatherOutput row_of(const Windows& windows, int channels) {
  return {.output = nullptr, .channels = channels, .out_h = windows.windows_h, .out_w = windows.windows_w};
}

TEST_F(CudaKernels, GatherFillsTilesToTheirLastRowAndColumn) {
  for (const GatherTile tile :
       {GatherTile::usual, GatherTile::large, GatherTile::few_channels, GatherTile::few_windows}) {
    for (const auto& [rows, columns, terms] :
         {std::array{130, 132, 16}, {64, 128, 15}, {129, 72, 17}, {8, 9, 33}, {9, 8, 64}, {1, 1, 1}}) {
      for (const bool aligned : {true, false}) {
        const Windows windows = pixels(rows, aligned ? 4 * terms : terms);
        GatherOutput out = row_of(windows, columns);
        out.tile = tile;
        SCOPED_TRACE(::testing::Message() << "tile " << static_cast<int>(tile) << ", " << rows << " x " << columns
                                          << ", " << terms << " terms, aligned " << aligned);
        check_gather(windows, out, {.bias = true}, aligned);
      }
    }
  }
}

/// Unequal along the two axes in everything.
Windows uneven(Padding::Mode mode, int channels) {
  return {.n = 2,
          .in_h = 7,
          .in_w = 4,
          .in_c = channels,
          .mode = mode,
          .k_h = 2,
          .k_w = 3,
          .windows_h = 5,
          .windows_w = 3,
          .stride_h = 2,
          .stride_w = 3,
          .begin_h = -2,
          .begin_w = -3};
}

TEST_F(CudaKernels, GatherReadsPaddingAndStridesOfEachAxis) {
  for (const Padding::Mode mode : {Padding::Mode::zero, Padding::Mode::reflect, Padding::Mode::replicate}) {
    for (const int channels : {1, 3, 8}) {
      const Windows windows = uneven(mode, channels);
      check_gather(windows, {.output = nullptr,
                             .channels = 5,
                             .pitch = 7,
                             .out_h = 18,
                             .out_w = 9,
                             .out_stride_h = 3,
                             .out_stride_w = 2,
                             .out_begin_h = 4,
                             .out_begin_w = 1});
    }
  }
}

TEST_F(CudaKernels, GatherContinuesPicturesOfOnePixel) {
  for (const Padding::Mode mode : {Padding::Mode::zero, Padding::Mode::reflect, Padding::Mode::replicate}) {
    const Windows windows{.n = 1,
                          .in_h = 1,
                          .in_w = 2,
                          .in_c = 1,
                          .mode = mode,
                          .k_h = 4,
                          .k_w = 9,
                          .windows_h = 3,
                          .windows_w = 2,
                          .begin_h = -3,
                          .begin_w = -5};
    check_gather(windows, row_of(windows, 2));
  }
}

TEST_F(CudaKernels, GatherEndsWithBiasReluMaskAndBeta) {
  for (const bool relu : {false, true}) {
    for (const float beta : {0.0f, 1.0f, -2.0f}) {
      const Windows windows = pixels(70, 5);
      GatherOutput out = row_of(windows, 72);
      out.relu = relu, out.beta = beta, out.scale = 0.5f;
      check_gather(windows, out, {.bias = true, .mask = true, .positive = true});
      check_gather(windows, out, {.mask = true});
      check_gather(windows, out, {.positive = true});
    }
  }
}

TEST_F(CudaKernels, GatherWithoutTermsIsTheBias) {
  Windows windows = pixels(5, 1);
  windows.k_h = 0;
  check_gather(windows, row_of(windows, 3), {.bias = true});
}

/// outer_product() on integers against its formula.
void check_outer(const OuterProduct& product, bool aligned = true) {
  const Windows& windows = product.windows;
  const Tensor picture = random_integers({windows.n, windows.in_h, windows.in_w, windows.in_c}, 6);
  const Tensor rows = product.symmetric ? picture : random_integers({windows.count(), product.rows}, 7);
  const Shape shape{product.rows, windows.k_h, windows.k_w, windows.in_c};
  const Tensor before = product.beta == 0.0f ? Tensor::full(shape, NAN) : random_integers(shape, 8);

  std::vector<double> sums(at(shape.count()));
  for_windows(windows, [&](int n, int h, int w) {
    const int64_t window = (int64_t{n} * windows.windows_h + h) * windows.windows_w + w;
    int64_t tap = 0;
    for_taps(windows, [&](int r, int s, int c) {
      const double value = value_read(windows, picture, n, h, w, r, s, c);
      for (int k = 0; k < product.rows; ++k) {
        sums[at(k * windows.length() + tap)] += value * rows.span<float>()[at(window * product.rows + k)];
      }
      ++tap;
    });
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = product.scale * sums[i] + (product.beta == 0.0f ? 0.0 : product.beta * before.span<float>()[i]);
  }

  const Tensor picture_there = on_cuda_device(picture, aligned);
  const Tensor rows_there = product.symmetric ? picture_there : on_cuda_device(rows);
  Tensor output = on_cuda_device(before);
  outer_product(product, rows_there.data<float>(), picture_there.data<float>(), output.data<float>(), current_stream());
  EXPECT_TRUE(equals(output.to(Device::cpu()), sums));
}

TEST_F(CudaKernels, OuterFillsTilesToTheirLastRowAndColumn) {
  for (const auto& [rows, columns, windows] :
       {std::array{72, 80, 33}, {132, 140, 16}, {68, 4, 5}, {5, 66, 17}, {64, 129, 15}, {1, 1, 1}}) {
    for (const bool aligned : {true, false}) {
      SCOPED_TRACE(::testing::Message() << rows << " x " << columns << ", " << windows << " windows");
      check_outer({.windows = pixels(windows, columns), .rows = rows}, aligned);
    }
  }
}

TEST_F(CudaKernels, OuterReadsPaddingAndStridesOfEachAxis) {
  for (const Padding::Mode mode : {Padding::Mode::zero, Padding::Mode::reflect, Padding::Mode::replicate}) {
    for (const int channels : {3, 4}) {
      check_outer({.windows = uneven(mode, channels), .rows = 4, .scale = 0.5f, .beta = -2.0f});
    }
  }
}

TEST_F(CudaKernels, OuterAddsParts) {
  check_outer({.windows = pixels(1031, 3), .rows = 5, .beta = 1.0f});  // four parts, the last shorter
  check_outer({.windows = pixels(1032, 4), .rows = 68, .scale = 2.0f});
  Windows rows = pixels(0, 4);
  rows.n = 3, rows.in_h = rows.windows_h = 19, rows.in_w = rows.windows_w = 13;
  check_outer({.windows = rows, .rows = 4});
}

TEST_F(CudaKernels, OuterMirrorsSymmetricProducts) {
  for (const int channels : {1, 31, 33, 132}) {
    for (const int positions : {7, 600}) {
      check_outer({.windows = pixels(positions, channels), .rows = channels, .scale = 0.25f, .symmetric = true});
    }
  }
}

}  // namespace
}  // namespace minidl::cuda
