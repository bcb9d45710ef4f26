#include <minidl/core/parallel.h>
#include <minidl/kernels/batch_norm.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/elementwise.h>
#include <minidl/kernels/upsample_conv2d.h>
#include <minidl/layers/strips/stored_rows.h>
#include <minidl/layers/transform_net.h>

#include <algorithm>

namespace minidl::layers {
namespace {

// Of maps at a quarter of the picture's size: thinner strips would compute mostly what neighbours share.
constexpr int64_t kLeastRows = 4;
constexpr int64_t kNeighbourRows =
    12;  // of full size that a strip of the last convolution reads or makes beside its own

/// Strips that are worked on before what they were made of is given back.
int64_t strips_together() {
  return std::max<int64_t>(8, 2 * num_threads());
}

/// Calls body(strip) for all strips on all threads, and now and then done(strips), so many being complete.
void for_strips(int64_t count, const std::function<void(int64_t)>& body,
                const std::function<void(int64_t)>& done = {}) {
  for (int64_t first = 0; first < count; first += strips_together()) {
    const int64_t last = std::min(count, first + strips_together());
    parallel_for(first, last, 1, [&](int64_t strip, int64_t) { body(strip); });
    if (done) done(last);
  }
}

}  // namespace

/// The net on one picture. Maps are kept as the convolutions wrote them; normalisation and ReLU happen when their rows
/// are read. Those of full size are not kept: their rows are computed once for the statistics and once more for
/// whoever reads them. A thread takes a strip through all that happens to it, in its own cache.
class TransformNet::Strips {
 public:
  Strips(const TransformNet& net, const StripOptions& options)
      : net_(net), options_(options), quarter_rows_(std::max(kLeastRows, options.rows / 4)) {}

  Tensor run(const Tensor& picture) const {
    StoredRows x = quartered(picture);
    for (size_t i = 0; i < net_.residual_.size(); i += 2) add_block(net_.residual_[i], net_.residual_[i + 1], x);
    return finished(doubled(x), picture.shape());
  }

 private:
  struct Kept {
    StoredRows rows;
    ChannelStatistics statistics;
  };
  using Done = std::function<void(int64_t rows)>;  // so many rows of the output are there

  /// Both convolutions of stride 2, normalised.
  StoredRows quartered(const Tensor& picture) const {
    const Stage &first = net_.down_[0], &second = net_.down_[1], &third = net_.down_[2];
    const RowMap full = convolved(RowMap::of(picture), first.conv);
    Kept half = keep(convolved(normalized_twice(full, first.norm), second.conv), 2 * quarter_rows_);
    Kept quarter = keep(convolved(normalized(half, second.norm, Activation::relu), third.conv), quarter_rows_,
                        [&](int64_t rows) { half.rows.drop_before(2 * rows - third.conv.window.padding.top); });
    const RowMap result = normalized(quarter, third.norm, Activation::relu);
    for_strips(quarter.rows.strip_count(), [&](int64_t strip) {
      quarter.rows.put(strip, result.rows(quarter.rows.begin_of(strip), quarter.rows.end_of(strip)));
    });
    return std::move(quarter.rows);
  }

  void add_block(const Stage& first, const Stage& second, StoredRows& x) const {
    Kept inner = keep(convolved(x.map(), first.conv), quarter_rows_);
    Kept outer = keep(convolved(normalized(inner, first.norm, Activation::relu), second.conv), quarter_rows_,
                      [&](int64_t rows) { inner.rows.drop_before(rows - second.conv.window.padding.top); });
    const RowMap before = x.map(), change = normalized(outer, second.norm, Activation::none);
    for_strips(
        x.strip_count(),
        [&](int64_t strip) {
          const int64_t begin = x.begin_of(strip), end = x.end_of(strip);
          Tensor sum = change.rows(begin, end);
          add_scaled(1.0f, before.rows(begin, end), 1.0f, sum, sum);
          x.put(strip, sum);
        },
        [&](int64_t strips) { outer.rows.drop_before(outer.rows.end_of(strips - 1)); });
  }

  /// The first upsampling, not yet normalised.
  Kept doubled(StoredRows& quarter) const {
    return keep(upsampled(quarter.map(), net_.up_[0].conv), 2 * quarter_rows_,
                [&](int64_t rows) { quarter.drop_before(rows / 2 - 1); });
  }

  Tensor finished(const Kept& half, const Shape& shape) const {
    const RowMap full = upsampled(normalized(half, net_.up_[0].norm, Activation::relu), net_.up_[1].conv);
    Conv last = net_.last_;
    last.window.padding.right -= full.width - shape[2];
    const RowMap picture = convolved(normalized_twice(full, net_.up_[1].norm), last);
    Tensor output = Tensor::empty(shape);
    float* pixels = output.data<float>();
    const int64_t rows = 4 * quarter_rows_;
    for_strips((shape[1] + rows - 1) / rows, [&](int64_t strip) {
      const int64_t begin = strip * rows, end = std::min(shape[1], begin + rows);
      const Tensor part = net_.colours(Variable(picture.rows(begin, end))).value();
      std::copy_n(part.data<float>(), part.count(), pixels + begin * shape[2] * shape[3]);
    });
    return output;
  }

  /// `use` gets every strip.
  ChannelStatistics statistics_of(const RowMap& map, int64_t strip_rows,
                                  const std::function<void(int64_t strip, const Tensor& rows)>& use,
                                  const Done& done = {}) const {
    std::vector<ChannelStatistics> parts(static_cast<size_t>((map.height + strip_rows - 1) / strip_rows));
    const auto end_of = [&](int64_t strip) { return std::min(map.height, (strip + 1) * strip_rows); };
    for_strips(
        std::ssize(parts),
        [&](int64_t strip) {
          const Tensor rows = map.rows(strip * strip_rows, end_of(strip));
          parts[static_cast<size_t>(strip)].add(rows);
          use(strip, rows);
        },
        [&](int64_t strips) {
          if (done) done(end_of(strips - 1));
        });
    ChannelStatistics all;
    for (const ChannelStatistics& part : parts) all.add(part);
    return all;
  }

  Kept keep(const RowMap& map, int64_t strip_rows, const Done& done = {}) const {
    Kept kept{StoredRows(map.height, map.width, map.channels, strip_rows, options_.storage), {}};
    kept.statistics = statistics_of(
        map, strip_rows, [&](int64_t strip, const Tensor& rows) { kept.rows.put(strip, rows); }, done);
    return kept;
  }

  RowMap convolved(const RowMap& input, const Conv& conv) const {
    const Conv2dDesc whole =
        Conv2dDesc::make({1, input.height, input.width, input.channels}, conv.weight.shape(), conv.window);
    return {whole.out_h(), whole.out_w(), whole.out_c, [=](int64_t begin, int64_t end, Tensor& output) {
              const Padding& padding = conv.window.padding;
              const int64_t first = begin * conv.window.stride_h - padding.top;
              const int64_t last = (end - 1) * conv.window.stride_h - padding.top + conv.weight.shape()[1];
              const Tensor rows = padded_rows(input, first, last, padding.mode);
              Window window = conv.window;
              window.padding.top = window.padding.bottom = 0;
              const Conv2dDesc desc = Conv2dDesc::make(rows.shape(), conv.weight.shape(), window);
              conv2d_forward(desc, rows, conv.weight.value(), conv.bias.value(), Activation::none, output);
            }};
  }

  /// Two rows for each row of the input. Beyond the border the map is continued by a row on each side, whose own output
  /// is left out.
  RowMap upsampled(const RowMap& input, const Conv& conv) const {
    const bool fractional = net_.options_.upsample == UpsampleKind::fractional;
    const Padding::Mode mode =
        fractional || net_.options_.padding == Padding::Mode::zero ? Padding::Mode::zero : Padding::Mode::replicate;
    const int64_t channels = conv.bias.shape()[0], row = 2 * input.width * channels;
    return {2 * input.height, 2 * input.width, channels, [=, this](int64_t begin, int64_t end, Tensor& output) {
              const int64_t first = begin / 2 - 1, last = (end + 1) / 2 + 1;
              const Tensor wider = net_.upsampled(Variable(padded_rows(input, first, last, mode)), conv).value();
              std::copy_n(wider.data<float>() + (begin - 2 * first) * row, (end - begin) * row, output.data<float>());
            }};
  }

  /// Normalisation with the statistics of the map, or those of training.
  StoredRows::Pass normalization(const Norm& norm, const ChannelStatistics& statistics, Activation activation) const {
    const bool batch = net_.options_.norm == NormKind::batch;
    const Tensor mean = batch ? norm.running_mean.value() : statistics.mean();
    const Tensor variance = batch ? norm.running_variance.value() : statistics.variance();
    const Tensor weight = net_.of_style(norm.weight).value().reshape(mean.shape());
    const Tensor bias = net_.of_style(norm.bias).value().reshape(mean.shape());
    return [=](const Tensor& from, Tensor& to) {
      batch_norm_forward_evaluation(from, weight, bias, mean, variance, kNormEps, activation, to);
    };
  }
  RowMap normalized(const Kept& kept, const Norm& norm, Activation activation) const {
    return kept.rows.map(normalization(norm, kept.statistics, activation));
  }
  /// Of a map that is not kept.
  RowMap normalized_twice(const RowMap& raw, const Norm& norm) const {
    ChannelStatistics statistics;
    if (net_.options_.norm == NormKind::instance) {
      statistics = statistics_of(raw, 4 * quarter_rows_, [](int64_t, const Tensor&) {});
    }
    const StoredRows::Pass pass = normalization(norm, statistics, Activation::relu);
    return {raw.height, raw.width, raw.channels, [=](int64_t begin, int64_t end, Tensor& output) {
              raw.read(begin, end, output);
              pass(output, output);
            }};
  }

  const TransformNet& net_;
  StripOptions options_;
  int64_t quarter_rows_;
};

Tensor TransformNet::apply_in_strips(const Tensor& picture, const StripOptions& options) const {
  check_pictures(picture.shape());
  MINIDL_CHECK(picture.shape()[0] == 1, "[transform_net] strips go through one picture at a time, input is {}",
               picture.shape());
  MINIDL_CHECK(options.rows >= 1 && (options.storage == Dtype::f32 || options.storage == Dtype::f16),
               "[transform_net] strips have {} rows of {}; they need at least 1, of f32 or f16", options.rows,
               to_string(options.storage));
  return Strips(*this, options).run(picture);
}

int64_t TransformNet::bytes_in_strips(int64_t height, int64_t width, const StripOptions& options) const {
  const int64_t w = options_.width, h2 = (height + 1) / 2, w2 = (width + 1) / 2, h4 = (h2 + 1) / 2, w4 = (w2 + 1) / 2;
  const auto element = static_cast<int64_t>(size_of(options.storage)), f32 = static_cast<int64_t>(sizeof(float));
  const int64_t half = h2 * w2 * 2 * w * element, quarter = h4 * w4 * 4 * w * element;
  const int64_t quarter_rows = std::max(kLeastRows, options.rows / 4);
  const int64_t waiting = std::min(h4, strips_together() * quarter_rows) * w4 * 4 * w * element;
  // The last convolution's rows and its neighbours', once more where they are continued at the border, and while they
  // are made those that upsampling makes and half of them that it reads, these continued, too.
  const int64_t strip = 4 * (std::min(height, 4 * quarter_rows) + kNeighbourRows) * 4 * w4 * w * f32;
  return std::max(half, 2 * quarter) + waiting + height * width * 3 * f32 + num_threads() * strip;
}

}  // namespace minidl::layers
