{{/* What every object's name begins with: the release, and the chart's name where that is not in it. */}}
{{- define "riverkeep.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What pods are chosen by. Called with a dict: root, and name: riverkeep or riverkeep-replica. */}}
{{- define "riverkeep.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "riverkeep.labels" -}}
{{ include "riverkeep.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "riverkeep.settings" -}}
{{- .Values.settings | default (.Files.Get "files/riverkeep.toml") -}}
{{- end -}}

{{/* The account, and what nobody in the pod may do. Called with a dict: root, and token: whether it is for the pod. */}}
{{- define "riverkeep.confinement" -}}
serviceAccountName: {{ include "riverkeep.name" .root }}
automountServiceAccountToken: {{ .token }}
# A service called riverkeep would put RIVERKEEP_* variables into the pod, which are read as settings.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Image, environment, rights and the wait before SIGTERM of every container. Called with a dict: root, and jobs:
     whether rounds are Jobs. */}}
{{- define "riverkeep.container" -}}
{{- $values := .root.Values -}}
name: riverkeep
image: {{ printf "%s:%s" $values.image.repository ($values.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- if or $values.environment $values.tls.secretName .jobs }}
env:
  {{- range $name, $value := $values.environment }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- if $values.tls.secretName }}
  {{- range $section := list "SERVING" "ADMIN" }}
  - name: RIVERKEEP_{{ $section }}__TLS_CERT_FILE
    value: /run/secrets/riverkeep-tls/tls.crt
  - name: RIVERKEEP_{{ $section }}__TLS_KEY_FILE
    value: /run/secrets/riverkeep-tls/tls.key
  {{- end }}
  {{- end }}
  {{- if .jobs }}
  - name: RIVERKEEP_JOBS__TEMPLATE_FILE
    value: /etc/riverkeep-jobs/job.yaml
  {{- end }}
{{- end }}
# SIGTERM comes after it: when nothing sends requests here any more, as the pod has left the services' endpoints.
lifecycle:
  preStop:
    exec:
      command: ["sleep", "5"]
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
{{- end -}}

{{/* Called with a dict: resources, gpus. */}}
{{- define "riverkeep.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpus -}}
{{- $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .gpus) ($resources.limits | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "riverkeep.mounts" -}}
- name: settings
  mountPath: /etc/riverkeep
  readOnly: true
- name: secrets
  mountPath: /run/secrets/riverkeep
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.tls.secretName }}
- name: tls
  mountPath: /run/secrets/riverkeep-tls
  readOnly: true
{{- end }}
{{- end -}}

{{/* Called with a dict: root, temporary. */}}
{{- define "riverkeep.volumes" -}}
- name: settings
  configMap:
    name: {{ include "riverkeep.name" .root }}
# A secret that changed is in its files within a minute. API keys and certificates are then taken by themselves; another
# admin token, without a restart, by `kubectl exec POD -- sh -c 'kill -HUP 1'`.
- name: secrets
  secret:
    secretName: {{ .root.Values.secrets.name }}
    defaultMode: 0440
- name: tmp
  emptyDir:
    sizeLimit: {{ .temporary }}
{{- if .root.Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ .root.Values.tls.secretName }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* Called with a dict: root, port. */}}
{{- define "riverkeep.scrape" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- if .root.Values.tls.secretName }}
prometheus.io/scheme: https
{{- end }}
{{- end -}}

{{- define "riverkeep.answers" -}}
- name: http
  port: {{ .Values.tls.secretName | empty | ternary 80 443 }}
  targetPort: serving
{{- end -}}

{{/* The admin surface has no plain port. */}}
{{- define "riverkeep.alive" -}}
path: /healthz
port: admin
{{- if .Values.tls.secretName }}
scheme: HTTPS
{{- end }}
{{- end -}}

{{/* The Job of a round, of which the daemon fills in the rest. */}}
{{- define "riverkeep.job" -}}
{{- $jobs := .Values.rounds.asJobs -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "riverkeep.name" . }}-round
  {{- with $jobs.labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  ttlSecondsAfterFinished: 3600
  template:
    metadata:
      labels:
        {{- include "riverkeep.selector" (dict "root" . "name" "riverkeep-learner") | nindent 8 }}
      {{- with $jobs.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with .Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile:
          type: RuntimeDefault
      {{- with $jobs.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with $jobs.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $jobs.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $jobs.pod }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      containers:
        - name: learner
          {{- with $jobs.image }}
          image: {{ . }}
          {{- end }}
          resources:
            {{- include "riverkeep.resources" (dict "resources" $jobs.resources "gpus" $jobs.gpus) | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: ["ALL"]
          volumeMounts:
            - name: rounds
              mountPath: /var/lib/riverkeep/rounds
            - name: tmp
              mountPath: /tmp
            # By which several devices of one learner talk; without it they have 64 MiB.
            - name: shm
              mountPath: /dev/shm
      volumes:
        - name: rounds
          persistentVolumeClaim:
            claimName: {{ include "riverkeep.name" . }}-rounds
        - name: tmp
          emptyDir:
            sizeLimit: {{ $jobs.temporary }}
        - name: shm
          emptyDir:
            medium: Memory
            sizeLimit: 1Gi
{{- end -}}
