#pragma once
#include <minidl/core/error.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>

namespace minidl {

/// Extents of a tensor by value: 0 to 4 dimensions, outermost first (pictures and feature maps are [n, height, width, channels]).
/// An extent may be 0; a negative one, more than four, or a product beyond int64 throws Error. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
    MINIDL_CHECK(extents.size() <= kMaxRank, "[shape] {} dimensions given, at most {} are supported", extents.size(), kMaxRank);
    for (int i = 0; i < rank_; ++i) {
      const int64_t extent = extents[i];
      MINIDL_CHECK(extent >= 0, "[shape] dimension {} is {}, it must not be negative", i, extent);
      MINIDL_CHECK(extent == 0 || count_ <= std::numeric_limits<int64_t>::max() / extent,
                   "[shape] the number of elements overflows at dimension {} of extent {}", i, extent);
      extents_[i] = extent;
      count_ *= extent;
    }
  }

  int rank() const { return rank_; }
  int64_t operator[](int dimension) const { return extents_[dimension]; }
  int64_t count() const { return count_; }
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }
  friend bool operator==(const Shape& a, const Shape& b) { return a.rank_ == b.rank_ && a.extents_ == b.extents_; }

  /// "[1,512,512,3]"; "[]" for a scalar.
  std::string str() const {
    std::string text = "[";
    for (int i = 0; i < rank_; ++i) {
      if (i > 0) text += ',';
      text += std::to_string(extents_[i]);
    }
    return text + "]";
  }

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int64_t count_ = 1;
  int rank_ = 0;
};

}  // namespace minidl
