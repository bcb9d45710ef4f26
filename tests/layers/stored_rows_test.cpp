#include <minidl/kernels/pad.h>
#include <minidl/layers/strips/stored_rows.h>
#include <support/compare.h>
#include <support/random_tensors.h>

namespace minidl::layers {
namespace {

using test::equals;
using test::random_integers;
using test::random_uniform;
using test::throws_error;

/// Rows [begin, end) of [1, h, w, c].
Tensor rows_of(const Tensor& map, int64_t begin, int64_t end) {
  Tensor rows = Tensor::empty({1, end - begin, map.shape()[2], map.shape()[3]});
  rows.copy_from(map.reshape({map.shape()[1], rows.count() / (end - begin)}).slice(begin, end).reshape(rows.shape()));
  return rows;
}

TEST(PaddedRows, AreThoseOfThePaddedMap) {
  const Tensor map = random_integers({1, 7, 3, 2}, 1);
  for (const Padding::Mode mode : {Padding::Mode::zero, Padding::Mode::reflect, Padding::Mode::replicate}) {
    const Padding padding{mode, 4, 4, 0, 0};
    Tensor padded = Tensor::empty(padded_shape(map.shape(), padding));
    pad_forward(map, padding, padded);
    for (int64_t begin = -4; begin < 11; ++begin) {
      for (int64_t end = begin + 1; end <= 11; ++end) {
        EXPECT_TRUE(equals(padded_rows(RowMap::of(map), begin, end, mode), rows_of(padded, begin + 4, end + 4)))
            << begin << " to " << end;
      }
    }
  }
}

TEST(StoredRows, GiveBackWhatWasPutUntilItIsDropped) {
  constexpr int64_t kHeight = 10;
  const Tensor map = random_integers({1, kHeight, 3, 2}, 1);  // exact in halves
  const StoredRows::Pass twice = [](const Tensor& from, Tensor& to) {
    const Tensor source = from;  // may be `to`
    for (int64_t i = 0; i < to.count(); ++i) to.data<float>()[i] = 2.0f * source.data<float>()[i];
  };
  Tensor doubled = map.clone();
  twice(doubled, doubled);
  for (const Dtype storage : {Dtype::f32, Dtype::f16}) {
    for (const int64_t strip_rows : {1, 3, 16}) {
      StoredRows stored(kHeight, 3, 2, strip_rows, storage);
      for (int64_t strip = 0; strip < stored.strip_count(); ++strip)
        stored.put(strip, rows_of(map, stored.begin_of(strip), stored.end_of(strip)));
      for (int64_t begin = 0; begin < kHeight; ++begin) {
        for (int64_t end = begin + 1; end <= kHeight; ++end) {
          EXPECT_TRUE(equals(stored.map().rows(begin, end), rows_of(map, begin, end)));
          EXPECT_TRUE(equals(stored.map(twice).rows(begin, end), rows_of(doubled, begin, end)));
        }
      }
    }
  }
  StoredRows stored(kHeight, 3, 2, 4, Dtype::f32);
  for (int64_t strip = 0; strip < 3; ++strip)
    stored.put(strip, rows_of(map, 4 * strip, std::min(kHeight, 4 * strip + 4)));
  stored.drop_before(7);  // the second strip is needed still
  EXPECT_TRUE(equals(stored.map().rows(4, 10), rows_of(map, 4, 10)));
  EXPECT_TRUE(throws_error([&] { stored.map().rows(3, 5); }, "rows 3 to 5 of 10 are not there any more"));
  stored.drop_before(8);
  EXPECT_TRUE(throws_error([&] { stored.map().rows(7, 8); }, "not there any more"));
  EXPECT_TRUE(equals(stored.map().rows(8, 10), rows_of(map, 8, 10)));
}

/// Around 1000, where sums of squares in f32 would lose everything.
TEST(ChannelStatistics, OfPartsAreThoseOfTheWhole) {
  constexpr int64_t kRows = 61, kWidth = 17, kChannels = 5;
  const Tensor map = random_uniform({1, kRows, kWidth, kChannels}, 1, 999.9f, 1000.1f);
  std::vector<double> mean(kChannels), variance(kChannels);
  const std::vector<double> values = test::to_doubles(map);
  for (size_t i = 0; i < values.size(); ++i) mean[i % kChannels] += values[i] / (kRows * kWidth);
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = values[i] - mean[i % kChannels];
    variance[i % kChannels] += difference * difference / (kRows * kWidth);
  }
  for (const int64_t strip : {1, 8, 61}) {
    ChannelStatistics all;
    for (int64_t row = 0; row < kRows; row += strip) {
      ChannelStatistics part;
      part.add(rows_of(map, row, std::min(kRows, row + strip)));
      all.add(part);
    }
    EXPECT_LE(test::normalised_error(all.mean(), mean), 1e-7) << strip;
    EXPECT_LE(test::normalised_error(all.variance(), variance), 1e-6) << strip;
  }
}

}  // namespace
}  // namespace minidl::layers
