package org.eellm.eval;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;

/** A prompt, and how a model, the full one unless stated, goes on with it greedily. */
public record GreedyContinuation(List<Integer> prompt, List<Integer> continuation)
    implements Serializable {

  /** Receives an exit's prediction of a token. */
  @FunctionalInterface
  interface Listener {
    /**
     * @param text its number, from 0
     * @param position of the token, from 0 for the first after the prompt
     */
    void onPrediction(int text, int position, Prediction prediction);
  }

  public GreedyContinuation {
    prompt = List.copyOf(prompt);
    continuation = List.copyOf(continuation);
  }

  /** Lets the full model write. */
  public static List<GreedyContinuation> write(
      EvaluatedModel model, List<List<Integer>> prompts, int maxTokens) {
    List<Result> results =
        model.run(
            prompts.stream()
                .map(
                    prompt ->
                        new Request(
                            prompt,
                            maxTokens,
                            model.endTokens(),
                            DecodingMethod.full(),
                            Sampler.greedy()))
                .toList(),
            TokenListener.none());
    List<GreedyContinuation> texts = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      texts.add(new GreedyContinuation(prompts.get(i), results.get(i).ids()));
    }
    return texts;
  }

  /** Asks all exits, each position's shallowest first, of all tokens after the prompts. */
  static void predict(EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    model.run(scores(model, texts, listener), TokenListener.none());
  }

  /** As {@link #predict}, for the short list of ids alone, which the model must have. */
  static void predictShortList(
      EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    model.run(
        scores(model, texts, listener).stream().map(Request::ofShortList).toList(),
        TokenListener.none());
  }

  private static List<Request> scores(
      EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    List<HeadId> heads = HeadId.all(model.exits()).subList(0, model.exits().size());
    List<Request> works = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      int text = i;
      List<Integer> prompt = texts.get(i).prompt();
      List<Integer> ids = new ArrayList<>(prompt);
      ids.addAll(texts.get(i).continuation());
      works.add(
          Request.score(
              ids,
              prompt.size(),
              heads,
              (prediction, id) ->
                  listener.onPrediction(text, prediction.position() - prompt.size(), prediction)));
    }
    return works;
  }
}
