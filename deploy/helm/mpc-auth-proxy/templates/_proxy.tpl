{{- /* The proxy's container, and its volumes. */ -}}
{{- define "mpc-auth-proxy.container" -}}
name: mpc-auth-proxy
image: {{ include "mpc-auth-proxy.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if and (ne .Values.mode "gateway") .Values.sidecar.native }}
# A sidecar: it starts before the others and stops after them.
restartPolicy: Always
{{- end }}
args: [run, --config, /etc/mpc-auth-proxy/config/proxy.yaml, --require-credentials]
{{- with .Values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - { name: ops, containerPort: 9090 }
  {{- if eq .Values.mode "gateway" }}
  - { name: gateway, containerPort: {{ .Values.gateway.port }} }
  {{- end }}
{{- if not (include "mpc-auth-proxy.isEndedByApp" .) }}
startupProbe:
  httpGet: { path: /startupz, port: ops }
  periodSeconds: 1
  # The proxy waits 30 s for required credentials, and 10 s for files that are being written.
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: ops }
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 5
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
resources:
  {{- toYaml (eq .Values.mode "gateway" | ternary .Values.gateway.resources .Values.resources) | nindent 2 }}
volumeMounts:
  - { name: config, mountPath: /etc/mpc-auth-proxy/config, readOnly: true }
  {{- if .Values.credential.secret }}
  - { name: keys, mountPath: /etc/mpc-auth-proxy/keys, readOnly: true }
  {{- end }}
  {{- if eq .Values.mode "gateway" }}
  - { name: tls, mountPath: /etc/mpc-auth-proxy/tls, readOnly: true }
  {{- end }}
  {{- if include "mpc-auth-proxy.isEndedByApp" . }}
  - { name: admin, mountPath: /run/mpc-auth-proxy }
  {{- end }}
{{- end -}}

{{- define "mpc-auth-proxy.volumes" -}}
- name: config
  configMap: { name: {{ include "mpc-auth-proxy.name" . }} }
{{- if .Values.credential.secret }}
- name: keys
  # Owned by root and readable by the group of `fsGroup`: Kubernetes makes it 0440.
  secret: { secretName: {{ .Values.credential.secret }}, defaultMode: 0400 }
{{- end }}
{{- if eq .Values.mode "gateway" }}
- name: tls
  secret: { secretName: {{ .Values.gateway.certificate }}, defaultMode: 0400 }
{{- end }}
{{- if include "mpc-auth-proxy.isEndedByApp" . }}
- name: admin
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}
{{- end -}}

{{- /* What pods of every mode share. */ -}}
{{- define "mpc-auth-proxy.pod" -}}
serviceAccountName: {{ include "mpc-auth-proxy.serviceAccount" . }}
# Nobody here needs tokens of the cluster's API.
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  # Makes the Secrets' files readable by this group.
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "mpc-auth-proxy.podMetadata" -}}
labels:
  {{- include "mpc-auth-proxy.labels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # A new policy is reloaded; most of proxy.yaml needs a restart.
  checksum/proxy.yaml: {{ include "mpc-auth-proxy.config" . | sha256sum }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* The container that calls the proxy. */ -}}
{{- define "mpc-auth-proxy.app" -}}
name: {{ .Values.app.name }}
image: {{ .Values.app.image }}
{{- if include "mpc-auth-proxy.isEndedByApp" . }}
{{- if not .Values.app.command }}{{ fail "app.command: without a native sidecar a Job says what it runs, so that the proxy can be ended after it" }}{{ end }}
command:
  - /bin/sh
  - -c
  # The exit code of the work is that of the Job.
  - |
    until {{ .Values.job.asksProxy }}; do sleep 0.2; done
    "$@"
    code=$?
    {{ .Values.job.endsProxy }}
    exit $code
  - job
  {{- toYaml .Values.app.command | nindent 2 }}
{{- else }}
{{- with .Values.app.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.app.args }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  # The endpoint of Huawei's SDKs. The key is a dummy: the proxy has the real one.
  - { name: HUAWEICLOUD_SDK_REGION_MPC_CN_NORTH_4, value: "http://127.0.0.1:{{ .Values.sidecar.port }}" }
  - { name: HUAWEICLOUD_SDK_AK, value: dummy }
  - { name: HUAWEICLOUD_SDK_SK, value: dummy }
  - { name: HUAWEICLOUD_SDK_PROJECT_ID, value: {{ (first .Values.projects).id | quote }} }
  {{- with .Values.app.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
{{- with .Values.app.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if include "mpc-auth-proxy.isEndedByApp" . }}
volumeMounts:
  - { name: admin, mountPath: /run/mpc-auth-proxy }
{{- end }}
{{- end -}}
