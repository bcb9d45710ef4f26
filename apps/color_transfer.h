#pragma once
#include <minidl/core/tensor.h>

namespace minidl {

/// How match_colors makes the colours of one picture those of another; each is exact in more respects than the one
/// before, and may change the picture more.
enum class ColorMatch {
  none,
  mean,        // mean and deviation of every channel
  covariance,  // mean and covariance matrix of the channels
  histogram,   // the distribution of every channel, and of the three opponent axes approximately
};

/// `source` with the colours of `target`, to be used on a style picture before the transfer so that the result has the
/// content's colours (Gatys, Bethge, Hertzmann, Shechtman 2016, "Preserving color in neural artistic style transfer",
/// section 3.1). Pictures are [1, h, w, 3], RGB in [0, 255], of any two sizes; the result has the size of `source` and
/// values in [0, 255]. With m, S the mean and covariance of a picture's pixels:
///
/// mean: x' = m_t + diag(sqrt((S_t + eps I) / (S_s + eps I))) (x - m_s).
///
/// covariance: x' = m_t + A (x - m_s), A = S_s^-1/2 (S_s^1/2 S_t S_s^1/2)^1/2 S_s^-1/2, eps I added to both S.
/// Of all A with A S_s A^T = S_t, two of which that paper takes, this symmetric one moves the colours least (Pitié &
/// Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", eq. 9).
///
/// histogram: after `covariance`, every value is replaced by the target's value of the same rank, along the opponent
/// and the RGB axes in turn, RGB last (Pitié, Kokaram & Dahyot 2005, "N-dimensional probability density function
/// transfer"). Equal values share their middle rank; between two of the target's ranks it is linear.
///
/// eps = 1, the variance of one level: grey and flat pictures are well defined, and their rounding noise is not blown
/// up. Throws Error for other shapes and for values that are not finite.
Tensor match_colors(const Tensor& source, const Tensor& target, ColorMatch match);

/// The luma of `stylised` with the colours of `content`, both [1, h, w, 3], RGB in [0, 255]: Y of the one, I and Q of
/// the other in YIQ (section 3.2 of the same paper), which is content + (Y_stylised - Y_content) for all three
/// channels, Y = 0.299 R + 0.587 G + 0.114 B. Where that leaves [0, 255], the chroma is scaled down as far as needed,
/// and the luma is kept.
Tensor keep_luminance(const Tensor& stylised, const Tensor& content);

}  // namespace minidl
