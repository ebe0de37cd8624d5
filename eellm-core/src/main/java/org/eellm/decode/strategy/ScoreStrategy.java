package org.eellm.decode.strategy;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.cache.HiddenStateSlots;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Head;

/** The text is there already: heads predict each of its tokens. */
final class ScoreStrategy implements DecodingStrategy {
  private final DecodingMethod.Score score;
  private final List<List<Prediction>> earlier = new ArrayList<>(); // by row
  private int asked;

  ScoreStrategy(DecodingMethod.Score score) {
    this.score = score;
  }

  @Override
  public void beginStep(Sequence sequence) {
    HiddenStateSlots inFlight = sequence.frontier().inFlight();
    asked = Math.clamp(inFlight.end() + 1L - score.from(), 0, inFlight.count());
    earlier.clear();
    for (int row = 0; row < asked; row++) {
      earlier.add(new ArrayList<>());
    }
  }

  @Override
  public int rowsToPredict(Sequence sequence, Head head) {
    return asked;
  }

  @Override
  public boolean draftsAt(Sequence sequence, Head head) {
    return score.ofShortList() && head.isExit();
  }

  @Override
  public List<Prediction> earlier(int row) {
    return earlier.get(row);
  }

  @Override
  public void onPredictions(Sequence sequence, List<Prediction> predictions) {
    List<Integer> prompt = sequence.request().prompt();
    RequestOutput output = sequence.output();
    for (Prediction prediction : predictions) {
      int position = prediction.position();
      int id = position < prompt.size() ? prompt.get(position) : score.last();
      score.listener().onPrediction(prediction, id);
      if (output.emit(sequence.token(prediction, id, false)) == Reaction.STOP) {
        output.finish(FinishReason.STOPPED);
        return;
      }
      if (position == prompt.size() && sequence.isLast(prediction.head())) {
        output.finish(FinishReason.LENGTH);
      }
    }
    for (int row = 0; row < predictions.size(); row++) {
      earlier.get(row).add(predictions.get(row));
    }
  }

  @Override
  public TapAction atTap(Sequence sequence, int rows, int maxPending) {
    return TapAction.CONTINUE;
  }
}
