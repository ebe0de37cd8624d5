package org.eellm.tensor.kernel;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * From which key on the tokens of whole sequences see: their sequence's first, or one of their own,
 * which begins their document or the window that they look through.
 */
public sealed interface KeyStarts {
  KeyStarts SEQUENCE = new OfSequence();

  record OfSequence() implements KeyStarts {}

  /**
   * @param positions of the first key that each token sees, int64 [sequences, tokens], or [1,
   *     tokens] where they are the same in all sequences
   */
  record OfTokens(Tensor positions) implements KeyStarts {}

  /** Those of some of the sequences, whose numbers are given, int64 [count]. */
  default KeyStarts ofSequences(Tensor numbers) {
    return switch (this) {
      case OfSequence whole -> whole;
      case OfTokens(Tensor positions) -> new OfTokens(positions.index_select(0, numbers));
    };
  }

  /** These, but none before {@code first}, int64 [1, tokens]; a negative one hides nothing. */
  default KeyStarts notBefore(Tensor first) {
    return new OfTokens(
        switch (this) {
          case OfSequence _ -> first.clamp_min(new Scalar(0L));
          case OfTokens(Tensor positions) -> positions.maximum(first);
        });
  }
}
