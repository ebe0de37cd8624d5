package org.eellm.decode.head;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.eellm.model.Head;

/** An exit's prediction for one row, from a short list of ids and some beyond it. */
final class ExtendedOutput implements HeadOutput {
  private final HeadOutput draft;
  private final int row;
  private final int[] more;
  private final float[] moreLogits;
  private final int best;
  private final double normalizer; // of the logits of all these ids

  /**
   * @param draft from the list, whose figures of the row are computed
   * @param more ids beyond the list, ascending
   * @param moreLogits theirs
   */
  ExtendedOutput(HeadOutput draft, int row, int[] more, float[] moreLogits) {
    this.draft = draft;
    this.row = row;
    this.more = more;
    this.moreLogits = moreLogits;
    int bestId = draft.best(row);
    float listed = draft.logit(row, bestId);
    float largest = listed;
    for (int i = 0; i < more.length; i++) {
      if (moreLogits[i] > largest || moreLogits[i] == largest && more[i] < bestId) {
        bestId = more[i];
        largest = moreLogits[i];
      }
    }
    best = bestId;
    double sum = Math.exp((double) listed - largest) / draft.maxProbability(row);
    for (float logit : moreLogits) {
      sum += Math.exp((double) logit - largest);
    }
    normalizer = largest + Math.log(sum);
  }

  @Override
  public Head head() {
    return draft.head();
  }

  @Override
  public int best(int row) {
    return best;
  }

  @Override
  public double maxProbability(int row) {
    return Math.exp(logProbability(row, best));
  }

  @Override
  public double margin(int row) {
    int listed = draft.best(row);
    double second = draft.logit(row, listed);
    if (best == listed) {
      second += Math.log1p(-draft.margin(row) / draft.maxProbability(row));
    }
    for (int i = 0; i < more.length; i++) {
      second = more[i] == best ? second : Math.max(second, moreLogits[i]);
    }
    return maxProbability(row) - Math.exp(second - normalizer);
  }

  @Override
  public double entropy(int row) {
    double mean = 0; // of the logarithms
    for (float logit : shortlistLogits(row)) {
      mean += Math.exp(logit - normalizer) * (logit - normalizer);
    }
    return -mean;
  }

  @Override
  public double logProbability(int row, int id) {
    return logit(row, id) - normalizer;
  }

  @Override
  public float logit(int row, int id) {
    int place = Arrays.binarySearch(more, id);
    return place < 0 ? draft.logit(row, id) : moreLogits[place];
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    List<TokenScore> scores = new ArrayList<>();
    draft.top(row, count).forEach(score -> scores.add(score(row, score.id())));
    for (int id : more) {
      scores.add(score(row, id));
    }
    scores.sort(
        Comparator.comparingDouble((TokenScore score) -> -score.logProbability())
            .thenComparingInt(TokenScore::id));
    return List.copyOf(scores.subList(0, Math.min(count, scores.size())));
  }

  private TokenScore score(int row, int id) {
    return new TokenScore(id, logProbability(row, id));
  }

  @Override
  public float[] logits(int row) {
    float[] all = draft.logits(row);
    for (int i = 0; i < more.length; i++) {
      all[more[i]] = moreLogits[i];
    }
    return all;
  }

  @Override
  public int[] ids() {
    int[] listed = draft.ids();
    int[] all = new int[listed.length + more.length];
    int next = 0; // of the further ids
    for (int i = 0; i < listed.length; i++) {
      while (next < more.length && more[next] < listed[i]) {
        all[i + next] = more[next++];
      }
      all[i + next] = listed[i];
    }
    System.arraycopy(more, next, all, listed.length + next, more.length - next);
    return all;
  }

  @Override
  public float[] shortlistLogits(int row) {
    int[] listed = draft.ids();
    float[] values = draft.shortlistLogits(row);
    float[] all = new float[listed.length + more.length];
    int next = 0;
    for (int i = 0; i < listed.length; i++) {
      while (next < more.length && more[next] < listed[i]) {
        all[i + next] = moreLogits[next++];
      }
      all[i + next] = values[i];
    }
    System.arraycopy(moreLogits, next, all, listed.length + next, more.length - next);
    return all;
  }

  @Override
  public float[] hidden(int row) {
    return draft.hidden(row);
  }

  @Override
  public double timesHidden(int row, float[] weights) {
    return draft.timesHidden(row, weights);
  }

  @Override
  public HeadOutput tempered(double by) {
    float[] divided = new float[more.length];
    for (int i = 0; i < more.length; i++) {
      divided[i] = (float) (moreLogits[i] / by);
    }
    return new ExtendedOutput(draft.tempered(by), row, more, divided);
  }
}
