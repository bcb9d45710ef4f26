#pragma once
#include <minidl/core/image.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/transform_net.h>

#include <optional>
#include <string_view>
#include <vector>

namespace minidl {

struct StylizerSettings {
  int64_t size = 0;                // longer side of the result in pixels; 0: that of the picture
  double strength = 1.0;           // 0 to 1: share of the net's picture in the result, the rest is the picture itself
  bool original_colors = false;    // the picture's colours, the net's brightness (see color_transfer.h)
  std::vector<float> styles = {};  // a share for each style of the net, added up to 1; empty: all of the first
  int64_t max_memory = 0;          // bytes of tensors; 0: no limit
  std::optional<Dtype> storage = {};  // f32 or f16: always in strips, kept so; empty: as the memory allows
  /// Pixels, 0 to 1024, by which the picture is continued on every side, mirrored, before the net paints it, and which are
  /// cut off afterwards: many nets paint a frame along borders, which they know from the zeros that VGG sees there. Empty:
  /// Stylizer::kBuiltinMargin for a style that is part of the library, else none.
  std::optional<int64_t> margin = {};
};

/// Whether the net of a file has learned brightness only (nst_train_fast --original-colors), so that original_colors
/// belongs to it.
bool keeps_photo_colors(const SafetensorsReader& reader);

/// How a picture of some size will be computed.
struct StylizerPlan {
  Extent size;           // of the result
  bool in_strips;        // or in one pass
  Dtype storage;         // of what waits in strips
  int64_t memory_bytes;  // most that tensors will take: pictures, maps, filters
  double flops;          // of the convolutions by their definition
};

/// Applies a trained transform net to pictures: settings and tensors in, tensors out. Filters are transformed once; for
/// pictures of one size memory is taken once, too. It computes where the net lies; pictures come and go on the host,
/// and strips are computed on the CPU only.
class Stylizer {
 public:
  /// What one pass may take when no limit is given; larger pictures go in strips, which take about half as much and a
  /// third more time.
  static constexpr int64_t kOnePassBytes = int64_t{1} << 30;
  static constexpr int64_t kBuiltinMargin = 16;

  /// Freezes the net. Without a limit of the memory execution::filter_cache() is raised to what the filters take (a net
  /// of 64 channels has 100 MB of them). Throws Error for settings out of their range and a number of styles that is
  /// not the net's.
  Stylizer(layers::TransformNet net, StylizerSettings settings = {});
  /// On the CPU with a style that is part of the library (builtin_models.h lists them). Throws Error for an unknown
  /// name with the nearest one.
  static Stylizer builtin(std::string_view name, StylizerSettings settings = {});

  /// `picture` [1, h, w, 3] to a picture of the size that the settings ask for; RGB in [0, 255] both. Throws Error when
  /// it does not fit into the limit of the memory, with what it would take.
  Tensor operator()(const Tensor& picture);

  /// For a picture of this size. In one pass where that fits, in strips of f32, then of f16. Throws the same Error.
  StylizerPlan plan(int64_t height, int64_t width) const;

  const layers::TransformNet& net() const { return net_; }
  const StylizerSettings& settings() const { return settings_; }

 private:
  layers::TransformNet net_;
  StylizerSettings settings_;
};

}  // namespace minidl
