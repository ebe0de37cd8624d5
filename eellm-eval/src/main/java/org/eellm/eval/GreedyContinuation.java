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
import org.eellm.eval.EvaluatedModel.EvalRequest;

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
                        EvalRequest.withoutListener(
                            new Request(
                                prompt,
                                maxTokens,
                                model.endTokens(),
                                DecodingMethod.full(),
                                Sampler.greedy())))
                .toList());
    List<GreedyContinuation> texts = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      texts.add(new GreedyContinuation(prompts.get(i), results.get(i).ids()));
    }
    return texts;
  }

  /** Asks all exits, each position's shallowest first, of all tokens after the prompts. */
  static void predict(EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    model.run(scores(model, texts, listener));
  }

  /** As {@link #predict}, for the short list of ids alone, which the model must have. */
  static void predictShortList(
      EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    model.run(
        scores(model, texts, listener).stream()
            .map(work -> EvalRequest.withoutListener(work.request().ofShortList()))
            .toList());
  }

  private static List<EvalRequest> scores(
      EvaluatedModel model, List<GreedyContinuation> texts, Listener listener) {
    List<HeadId> heads = HeadId.all(model.exits()).subList(0, model.exits().size());
    List<EvalRequest> works = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      int text = i;
      List<Integer> prompt = texts.get(i).prompt();
      List<Integer> ids = new ArrayList<>(prompt);
      ids.addAll(texts.get(i).continuation());
      works.add(
          EvalRequest.withoutListener(
              Request.score(
                  ids,
                  prompt.size(),
                  heads,
                  (prediction, id) ->
                      listener.onPrediction(
                          text, prediction.position() - prompt.size(), prediction))));
    }
    return works;
  }
}
