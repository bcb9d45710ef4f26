#pragma once
#include <minidl/layers/module.h>
#include <minidl/layers/network_description.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>

namespace minidl::layers {

struct VggOptions {
  /// Load and keep only what these layers need; empty: every layer of the file.
  std::vector<std::string> taps = {};
};

/// A chain of convolutions, ReLUs and pools such as VGG-16 and VGG-19, with features by layer name ("relu4_2") and,
/// when the file has them, the fully connected layers. Input: pictures [n, h, w, 3], RGB in [0, 255]; the network takes
/// its own mean off.
///
/// A student (student.h) is used in the same way: the values of its taps are projected, so that their squared
/// distances and those of their Gram matrices are those of the features that it predicts for its teacher.
class Vgg final : public Module {
 public:
  /// Reads MatConvNet .mat or .safetensors by content (see vgg_weights.h).
  static Vgg load(const std::filesystem::path& path, const VggOptions& options = {});
  static Vgg load(const SafetensorsReader& reader, const VggOptions& options = {});
  explicit Vgg(NetworkDescription network, const VggOptions& options = {});

  using Module::operator();
  /// Values of the named layers (of a softmax: the logarithms of its probabilities), each computed once, stopping at
  /// the deepest. Throws Error for an unknown name and for a picture too small for it, with the smallest size that
  /// works.
  std::map<std::string, Variable> operator()(const Variable& image, std::span<const std::string> taps);
  std::map<std::string, Variable> operator()(const Variable& image, std::initializer_list<std::string> taps);
  /// The same values, each given to `use` as soon as it is there and freed when neither `use` kept it nor a layer still
  /// reads it.
  using Use = std::function<void(const std::string& name, const Variable& value)>;
  void visit(const Variable& image, std::span<const std::string> taps, const Use& use);
  /// The last layer of the chain.
  Variable forward(const Variable& image) override;

  /// N of the losses' formulas for features of a layer: its channels, of a student's those of the teacher's layer.
  int64_t loss_channels(const std::string& name) const;

  /// Multiplies weights and biases up to the deepest of `taps` by powers of two, so that the largest absolute value of
  /// each convolution over all `pictures` [n, h, w, 3] is at least half of 2^kNormalized and less than that.
  /// Convolutions, ReLUs and pools keep a factor, and the convolution behind the deepest tap takes it back: values of
  /// the layers are feature_scale() times what they were, with the same bits otherwise. It is for fp16, in which a
  /// network as it was trained may overflow. The values are measured in fp32: the same pictures give the same factors.
  /// Throws Error for pictures as the call operator does, for values that are not finite in fp32, and for a softmax
  /// among the layers.
  void normalize(std::span<const Tensor> pictures, std::span<const std::string> taps);
  /// Other pictures' values may be 2^9 times as large before fp16, up to 65504, cuts them off; values down to 2^-21 of
  /// the largest have all bits of fp16, which has them from 2^-14.
  static constexpr int kNormalized = 7;
  /// The power of two that a layer's value is a multiple of since normalize(): features / feature_scale are those of
  /// the formulas. 1 without it.
  double feature_scale(const std::string& name) const;

  /// Replaces the pooling of the file: Gatys et al. prefer averages for pictures.
  void set_pooling(PoolKind pooling);

  /// While a tape records, values of named layers are not kept for the backward pass but computed anew from what is
  /// there, when that takes at most so many floating-point operations for each byte that is not kept. At first
  /// kCheapRecompute: what takes a CPU no longer than fetching it from memory, such as the first layer of VGG; on a
  /// CUDA device 0.
  static constexpr double kCheapRecompute = 16;
  void set_recompute_limit(double flops_per_byte) { recompute_limit_ = flops_per_byte; }
  double recompute_limit() const;
  /// Those of `taps` for which that is so with a picture [n, h, w, 3].
  std::set<std::string> recomputed(const Shape& image, std::span<const std::string> taps) const;
  /// Whether the other named values are kept in bf16 for the backward pass: on the CPU under Precision::bf16.
  bool keeps_in_bf16() const;

  /// Names of the layers in order.
  std::vector<std::string> layer_names() const;
  bool has_layer(const std::string& name) const;
  const NetworkDescription& description() const { return network_; }
  /// Shape of a layer's value for a picture [n, h, w, 3]; throws Error as the call operator does.
  Shape feature_shape(const std::string& name, const Shape& image) const;
  /// Smallest height and width of a picture for which the layer has at least one pixel.
  int64_t smallest_side(const std::string& name) const;

  struct Prediction {
    int64_t index;
    float probability;
    std::string name;  // class name when the file has names
  };
  /// The most probable classes of one picture of any size (resized to 224 x 224): needs the fc layers.
  std::vector<Prediction> classify(const Tensor& image, int count = 5);

 private:
  void check_size(const std::string& name, const Shape& image) const;
  Variable seen_at(size_t layer, const Variable& value, bool again) const;

  NetworkDescription network_;
  std::vector<Variable> weights_, biases_;  // by layer; undefined where the layer has none
  std::vector<Variable> projections_;       // likewise
  std::vector<double> scales_;              // by layer: feature_scale()
  Variable negative_mean_;                  // [3]
  std::optional<double> recompute_limit_;
};

}  // namespace minidl::layers
