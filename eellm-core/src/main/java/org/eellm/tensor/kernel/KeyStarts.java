package org.eellm.tensor.kernel;

import org.bytedeco.pytorch.Tensor;

/**
 * From which key on the tokens of whole sequences see: their sequence's first or their document's.
 */
public sealed interface KeyStarts {
  KeyStarts SEQUENCE = new OfSequence();

  record OfSequence() implements KeyStarts {}

  /**
   * @param positions of the first token of each token's document, int64 [sequences, tokens]
   */
  record OfDocument(Tensor positions) implements KeyStarts {}

  /** Those of some of the sequences, whose numbers are given, int64 [count]. */
  default KeyStarts ofSequences(Tensor numbers) {
    return switch (this) {
      case OfSequence whole -> whole;
      case OfDocument(Tensor positions) -> new OfDocument(positions.index_select(0, numbers));
    };
  }
}
