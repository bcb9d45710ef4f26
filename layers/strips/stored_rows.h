#pragma once
#include <minidl/kernels/padding.h>

#include <functional>
#include <vector>

namespace minidl::layers {

/// A feature map that need not exist as a whole: `read` writes rows [begin, end) of it to `output` [1, end - begin,
/// width, channels], f32, from wherever they come. Several threads may read at once.
struct RowMap {
  using Read = std::function<void(int64_t begin, int64_t end, Tensor& output)>;

  int64_t height = 0, width = 0, channels = 0;
  Read read;

  /// Of a tensor [1, h, w, c], which it keeps.
  static RowMap of(const Tensor& map);
  /// A new tensor.
  Tensor rows(int64_t begin, int64_t end) const;
};

/// Rows [begin, end) of `map` continued by `mode` above and below; `begin` may be negative, `end` beyond the height.
Tensor padded_rows(const RowMap& map, int64_t begin, int64_t end, Padding::Mode mode);

/// A map in memory as strips of rows, f32 or f16, which can be given back from the top while the rest is still read.
class StoredRows {
 public:
  /// Empty; every strip but the last has `strip_rows` rows.
  StoredRows(int64_t height, int64_t width, int64_t channels, int64_t strip_rows, Dtype storage);

  /// Gets a part of the stored rows, f32, or a copy that is `to` already, and writes to `to` of the same shape [1,
  /// rows, width, channels].
  using Pass = std::function<void(const Tensor& from, Tensor& to)>;
  /// The map's rows after `pass`, by default as they are; refers to this object. Reading throws Error for rows that are
  /// not there.
  RowMap map(const Pass& pass = {}) const;
  int64_t strip_count() const { return static_cast<int64_t>(strips_.size()); }
  int64_t begin_of(int64_t strip) const { return strip * strip_rows_; }
  int64_t end_of(int64_t strip) const { return std::min(height_, (strip + 1) * strip_rows_); }
  /// `rows` [1, rows of the strip, width, channels], f32, which nobody may write to any more.
  void put(int64_t strip, const Tensor& rows);
  /// Gives back the strips that end at or before `row`.
  void drop_before(int64_t row);

 private:
  void read(int64_t begin, int64_t end, const Pass& pass, Tensor& output) const;

  int64_t height_, width_, channels_, strip_rows_;
  Dtype storage_;
  std::vector<Tensor> strips_;  // undefined before put() and after drop_before()
};

/// Mean and biased variance of each channel of a map that comes in parts, in f64: each part's own, merged in order
/// (Chan, Golub, LeVeque 1979).
class ChannelStatistics {
 public:
  /// `part` [..., c], f32, at least one position.
  void add(const Tensor& part);
  void add(const ChannelStatistics& part);
  /// [c], f32.
  Tensor mean() const;
  Tensor variance() const;

 private:
  double count_ = 0;
  std::vector<double> mean_, squares_;  // squares_: of the differences from the mean
};

}  // namespace minidl::layers
