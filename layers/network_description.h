#pragma once
#include <minidl/core/tensor.h>
#include <minidl/kernels/conv2d.h>
#include <minidl/kernels/pool2d.h>

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace minidl::layers {

/// One layer of a chain as a weight file lists it. A fully connected layer is a convolution whose kernel covers its input.
struct LayerDescription {
  enum class Kind { conv, relu, pool, softmax };

  Kind kind = Kind::conv;
  std::string name;                     // "conv1_1", "relu1_1", "pool1", "fc6", "prob": unique in the chain
  Window window = {};                   // conv and pool
  int64_t k_h = 0, k_w = 0;             // conv and pool
  int64_t in_c = 0, out_c = 0;          // conv
  PoolKind pool = PoolKind::max;        // pool
  Tensor weight = {}, bias = {};        // conv: [out_c, k_h, k_w, in_c] and [out_c], f32; undefined when they were not loaded
  /// relu of a student (student.h): channels of the layer that it stands for, and the square matrix [c, 1, 1, c] that is
  /// applied to its c channels before a loss sees them. 0 and undefined: the value itself is what there is to see.
  int64_t imitated_c = 0;
  Tensor projection = {};
};

/// A network file's content: the chain and what it expects of its input.
struct NetworkDescription {
  std::vector<LayerDescription> layers;
  /// RGB in [0, 255], taken off the picture. A file whose network expects (rgb / 255 - m) / s, as torchvision's do, is read as the same function
  /// of rgb - 255 m: 1 / (255 s) is folded into the first layer's weights, exactly so at the borders, too.
  std::array<float, 3> mean{123.68f, 116.779f, 103.939f};
  /// Levels of 0..255 that were one unit of the input it was trained with: 1, or 57.63 (255 times the mean deviation)
  /// for torchvision's. Its features are about so much smaller than those of a network that was trained on levels.
  float input_unit = 1.0f;
  std::vector<std::string> class_names;  // of the classifier, or empty
  std::string source;                    // file name, for messages
  /// What a file says about itself beside all this ("attribution", "licence", "training"), by key.
  std::map<std::string, std::string> notes = {};

  /// Index of the layer called `name`; throws Error with the names there are and the nearest one.
  size_t index_of(const std::string& name) const;
  /// Whether it is a student (student.h), which stands for another network at some layers and was trained with its own
  /// pooling.
  bool is_student() const;
  /// Index of the layer called `name` when a loss may use it: throws as index_of does, and for a layer of a student that
  /// stands for none of its teacher's, with those that do.
  size_t index_of_tap(const std::string& name) const;
  /// Number of layers up to and with the deepest of `names`; all of them for an empty list. Throws as index_of does.
  size_t count_until(std::span<const std::string> names) const;
  /// The last layer of the operation that begins with layer `first` when the values of `taps` are asked for: a convolution takes over the
  /// ReLU that follows it, and then a pool of 2x2 windows side by side, unless somebody asks for the value in between.
  size_t fused_until(size_t first, std::span<const std::string> taps) const;
};

/// The convolutional and fully connected layers of VGG-16 or VGG-19 (Simonyan & Zisserman 2014, configurations D and E) without weights:
/// 3x3 convolutions with padding 1, five 2x2 max pools, fc6 (7x7), fc7, fc8, softmax "prob". Throws Error unless `depth` is 16 or 19.
NetworkDescription vgg_description(int depth, bool classifier);
/// Of networks that take (rgb / 255 - m) / s as torchvision's do: 255 times the mean of the three s.
inline constexpr float kTorchvisionInputUnit = 255.0f * 0.226f;
/// Fills undefined weights with seeded He-normal values, zero biases: a network of the right shape that has learned nothing (tests, timing).
void fill_random_weights(NetworkDescription& network, uint64_t seed);

}  // namespace minidl::layers
