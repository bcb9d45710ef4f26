#pragma once
#include <minidl/kernels/conv2d.h>
#include <minidl/layers/module.h>
#include <minidl/layers/norm.h>

#include <span>

namespace minidl::layers {

/// How the second half of a transform net doubles the size of its maps: nearest-neighbour upsampling and a 3x3
/// convolution, which leaves no checkerboard (Odena et al. 2016), or 3x3 convolutions of stride 1/2 (Guo & Wang, table
/// 1; Johnson et al. 2016).
enum class UpsampleKind { nearest, fractional };
/// linear: the last convolution's values are the picture. tanh: mean colour + 150 tanh(value), the mean being VGG's
/// (123.68, 116.779, 103.939): Johnson et al. train on pictures from which it was taken off, with 150 tanh at the end.
enum class OutputRange { linear, tanh };

/// How apply_in_strips() goes through a picture.
struct StripOptions {
  int64_t rows = 32;           // of the picture at a time; at least 1
  Dtype storage = Dtype::f32;  // of the maps that wait in memory: f32 or f16
};

struct TransformNetOptions {
  int64_t width = 32;           // channels w of the first layer, 8 to 64; then 2 w, and 4 w in the residual blocks
  int64_t residual_blocks = 5;  // 0 to 100
  UpsampleKind upsample = UpsampleKind::nearest;
  Padding::Mode padding = Padding::Mode::reflect;  // of all convolutions but those of stride 1/2, which pad by zeros
  NormKind norm = NormKind::instance;
  OutputRange output_range = OutputRange::linear;
  int64_t styles = 1;  // 1 to 10000; more than 1 needs instance normalisation
  friend bool operator==(const TransformNetOptions&, const TransformNetOptions&) = default;
};

/// The image transform net (Guo & Wang, table 1; Johnson et al. 2016): 9x9 convolution to w channels, two 3x3
/// convolutions of stride 2 to 2 w and 4 w, residual blocks, two upsamplings to 2 w and w, 9x9 convolution to 3. After
/// every convolution but the last comes a normalisation (eps 1e-5) and, except for the second one of a residual block,
/// a ReLU.
///
/// Pictures [n, h, w, 3], RGB in [0, 255], to pictures of the same shape. Any size from 1 x 1 works: a stride of 2
/// makes ceil(size / 2), and what the upsamplings make too much is cut off at the right and at the bottom.
///
/// With several styles each normalisation has weight and bias [styles, c] (conditional instance normalisation, Dumoulin
/// et al. 2017), and select_style says which ones the next passes use. Otherwise they are [c].
///
/// Parameters are called as in PyTorch's fast_neural_style example: conv1.conv2d.weight, in1.weight,
/// res1.conv1.conv2d.weight, res1.in1.weight, deconv1.conv2d.weight, ... Filters are [out, k, k, in], those of stride
/// 1/2 [in, k, k, out]; initial values as PyTorch's (see init.h).
class TransformNet final : public Module {
 public:
  /// Throws Error when an option is out of range.
  explicit TransformNet(const TransformNetOptions& options = {});
  /// See transform_net_weights.h.
  [[nodiscard]] static TransformNet load(const std::filesystem::path& path);
  [[nodiscard]] static TransformNet load(const SafetensorsReader& reader);
  /// `metadata` is written beside the options; `storage` is f32 or f16.
  void save(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata = {},
            Dtype storage = Dtype::f32) const;

  Variable forward(const Variable& input) override;

  /// The same for one picture [1, h, w, 3] in little memory, in evaluation mode, without a tape: layer by layer in
  /// strips of rows, because every normalisation needs its map's statistics first. Equal to the plain pass up to
  /// rounding.
  Tensor apply_in_strips(const Tensor& picture, const StripOptions& options = {}) const;
  /// The most memory of tensors, in bytes, that this takes beside its input for one picture: half the values of the
  /// largest map, the output, and some strips for each thread. Filters that are kept come on top.
  int64_t bytes_in_strips(int64_t height, int64_t width, const StripOptions& options = {}) const;
  /// The same of the plain pass without a tape.
  int64_t bytes_in_one_pass(int64_t height, int64_t width) const;

  /// The style of all pictures; at first 0. Throws Error unless there is such a style.
  void select_style(int64_t style);
  /// A mix of styles: normalisations use the sum of their weights and biases times these shares, one for each style.
  void select_style(std::span<const float> shares);
  /// A mix for each picture of a batch: [n, styles].
  void select_styles(const Tensor& shares);

  const TransformNetOptions& options() const { return options_; }

 private:
  friend TransformNet read_transform_net(const SafetensorsReader& reader);

  struct Conv {
    Variable weight, bias;
    Window window;
  };
  struct Norm {
    Variable weight, bias;
    Variable running_mean, running_variance;  // of batch normalisation
  };
  struct Stage {
    Conv conv;
    Norm norm;
  };
  enum class Initial { random, zero };
  class Strips;

  static constexpr float kNormEps = 1e-5f;

  TransformNet(const TransformNetOptions& options, Initial initial);
  Conv make_conv(const std::string& name, Shape weight, int64_t stride, Initial initial);
  Norm make_norm(const std::string& name, int64_t channels);
  void check_pictures(const Shape& shape) const;
  Variable of_style(const Variable& parameter) const;
  /// `residual` is added to what has no activation; with `for_convolution` only convolutions read the result.
  Variable normalized(Variable input, const Norm& norm, Activation activation, const Variable& residual,
                      bool for_convolution);
  Variable upsampled(const Variable& input, const Conv& conv) const;
  /// The picture from what the last convolution gives.
  Variable colours(const Variable& values) const;

  TransformNetOptions options_;
  std::vector<Stage> down_, residual_, up_;  // residual_: two for each block
  Conv last_;
  Tensor shares_;  // [styles] or [n, styles]; undefined with one style
};

}  // namespace minidl::layers
