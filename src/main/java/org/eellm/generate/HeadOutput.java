package org.eellm.generate;

import java.util.List;
import org.eellm.generate.GeneratedToken.Alternative;
import org.eellm.model.Head;

/** What a head says of some rows; {@link Prediction} says of one of them what each figure is. */
sealed interface HeadOutput permits HeadLogits, ToldOutput {
  Head head();

  int best(int row);

  double maxProbability(int row);

  double margin(int row);

  double entropy(int row);

  double logProbability(int row, int id);

  List<Alternative> top(int row, int count);

  float[] logits(int row);

  HeadOutput tempered(double by);
}
