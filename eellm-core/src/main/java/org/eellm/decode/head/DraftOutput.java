package org.eellm.decode.head;

import java.util.Arrays;
import java.util.List;
import org.eellm.model.Head;

/**
 * An exit's predictions when it is asked for a short list of ids only. Ids beyond the list have
 * probability 0.
 *
 * @param listed a prediction whose id i is the list's i-th
 * @param ids the list, ascending
 * @param vocabSize all ids
 * @param extension what scores ids beyond the list
 */
public record DraftOutput(HeadOutput listed, int[] ids, int vocabSize, Extension extension)
    implements HeadOutput {

  /** Adds ids to what is predicted of a row. */
  @FunctionalInterface
  public interface Extension {
    /** Of a head whose output matrix is not at hand. */
    Extension NONE = (draft, _, _) -> draft;

    /**
     * As {@link HeadOutput#with}.
     *
     * @param more in any order; those that are listed change nothing
     */
    HeadOutput with(DraftOutput draft, int row, int[] more);
  }

  /** Ids beyond the list cannot be scored. */
  public DraftOutput(HeadOutput listed, int[] ids, int vocabSize) {
    this(listed, ids, vocabSize, Extension.NONE);
  }

  @Override
  public HeadOutput with(int row, int[] more) {
    return extension.with(this, row, more);
  }

  @Override
  public float logit(int row, int id) {
    int place = Arrays.binarySearch(ids, id);
    return place < 0 ? Float.NEGATIVE_INFINITY : listed.logit(row, place);
  }

  @Override
  public Head head() {
    return listed.head();
  }

  @Override
  public void await() {
    listed.await();
  }

  @Override
  public boolean isThere() {
    return listed.isThere();
  }

  @Override
  public int best(int row) {
    return ids[listed.best(row)];
  }

  @Override
  public double maxProbability(int row) {
    return listed.maxProbability(row);
  }

  @Override
  public double margin(int row) {
    return listed.margin(row);
  }

  @Override
  public double entropy(int row) {
    return listed.entropy(row);
  }

  @Override
  public double logProbability(int row, int id) {
    int place = Arrays.binarySearch(ids, id);
    return place < 0 ? Double.NEGATIVE_INFINITY : listed.logProbability(row, place);
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    return listed.top(row, count).stream()
        .map(score -> new TokenScore(ids[score.id()], score.logProbability()))
        .toList();
  }

  @Override
  public float[] logits(int row) {
    float[] all = new float[vocabSize];
    Arrays.fill(all, Float.NEGATIVE_INFINITY);
    float[] some = listed.logits(row);
    for (int i = 0; i < ids.length; i++) {
      all[ids[i]] = some[i];
    }
    return all;
  }

  @Override
  public float[] shortlistLogits(int row) {
    return listed.logits(row);
  }

  @Override
  public float[] hidden(int row) {
    return listed.hidden(row);
  }

  @Override
  public double timesHidden(int row, float[] weights) {
    return listed.timesHidden(row, weights);
  }

  @Override
  public HeadOutput tempered(double by) {
    return new DraftOutput(
        listed.tempered(by), ids, vocabSize, (_, row, more) -> with(row, more).tempered(by));
  }
}
